"""Explain why a video cannot be read."""

import os
from typing import BinaryIO

from uniformer_mm.errors import UserError

HEAD_SIZE = 4096
"""Bytes at the start of a file that state the size of its container."""

MP4_BOXES = frozenset(
    b"ftyp styp moov moof mdat free skip wide uuid sidx mfra meta udta pnot emsg prft".split()
)
"""Types of the boxes in MP4 and QuickTime files."""


def check_complete(name: str, source: str | BinaryIO) -> None:
    """Refuse an empty file, and one that is shorter than its container states.

    AVI, Matroska, WebM, MP4 and QuickTime state it. FFmpeg reads truncated files as shorter videos.

    Args:
        name: Name of the file for the error.
        source: Path, or an open file, which is rewound.

    Raises:
        OSError: The file cannot be read.
        UserError: It is empty or truncated.
    """
    if isinstance(source, str):
        with open(source, "rb") as file:
            check_complete(name, file)
        return
    size = source.seek(0, os.SEEK_END)
    if not size:
        raise UserError(f"{name} cannot be read: the file is empty")
    head = read_head(source)
    missing = (boxes_end(source, size) if is_mp4(head) else container_size(head)) - size
    source.seek(0)
    if missing > 0:
        raise UserError(f"{name} cannot be read: it is truncated, {missing} bytes are missing")


def read_head(source: str | BinaryIO) -> bytes:
    """Read the first bytes of a file."""
    if isinstance(source, str):
        with open(source, "rb") as file:
            return file.read(HEAD_SIZE)
    source.seek(0)
    return source.read(HEAD_SIZE)


def why_not_opened(head: bytes) -> str:
    """Return why FFmpeg does not recognize a file with these first bytes."""
    if is_mp4(head):
        return "its recording was not completed: the index (moov) is absent"
    if is_text(head):
        return "it is text, not a video"
    return "it is not a video in a format of FFmpeg's, or its start is damaged"


def is_mp4(head: bytes) -> bool:
    """Whether a file with these first bytes is MP4 or QuickTime."""
    return head[4:8] in MP4_BOXES


def is_text(head: bytes) -> bool:
    """Whether a file starts with printable characters in UTF-8."""
    text = head.decode("utf-8", errors="replace").rstrip("\ufffd")  # a character may be cut
    return all(character.isprintable() or character.isspace() for character in text)


def boxes_end(file: BinaryIO, size: int) -> int:
    """Return the position after the last box of an MP4 file, beyond `size` if it is truncated."""
    start = 0
    while start + 8 <= size:
        file.seek(start)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:], "big")
        if length < 8 or header[4:8] not in MP4_BOXES:  # up to the end, or not a box
            return size
        start += length
    return start


def container_size(head: bytes) -> int:
    """Return the file size that an AVI, Matroska or WebM header states; 0 if it does not."""
    if head.startswith(b"RIFF"):
        size = int.from_bytes(head[4:8], "little")
        return 0 if size == 2**32 - 1 else 8 + size
    segment = head.find(b"\x18\x53\x80\x67")
    if head.startswith(b"\x1a\x45\xdf\xa3") and 0 < segment < len(head) - 12:
        # A variable-length integer of as many bytes as the position of the first bit that is set.
        start = segment + 4
        length = 9 - head[start].bit_length()
        unknown = 2 ** (7 * length) - 1
        size = int.from_bytes(head[start : start + length], "big") & unknown
        return 0 if size == unknown else start + length + size
    return 0
