"""Why a video cannot be read."""

import os
from typing import BinaryIO

from uniformer_mm.errors import UserError

HEAD_SIZE = 4096
"""Bytes from the beginning of a file that hold the size of its container."""

MP4_BOXES = frozenset(
    (
        *(b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"uuid"),
        *(b"sidx", b"mfra", b"meta", b"udta", b"pnot", b"emsg", b"prft"),
    )
)
"""The boxes that MP4 and QuickTime files are made of."""


def check_whole(name: str, source: str | BinaryIO) -> None:
    """Refuse an empty file, and one that is shorter than its container says.

    That is known of AVI, Matroska, WebM, MP4 and QuickTime; FFmpeg takes them for shorter videos.

    Args:
        name: What the error calls the file.
        source: Path, or an open file, which is rewound.

    Raises:
        OSError: The file cannot be read.
        UserError: It is empty, or bytes are missing.
    """
    if isinstance(source, str):
        with open(source, "rb") as file:
            check_whole(name, file)
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
    """The first bytes of a file."""
    if isinstance(source, str):
        with open(source, "rb") as file:
            return file.read(HEAD_SIZE)
    source.seek(0)
    return source.read(HEAD_SIZE)


def why_not_opened(head: bytes) -> str:
    """Why FFmpeg finds no container in a file that begins so."""
    if is_mp4(head):
        return "its recording was not completed: the index (moov) is absent"
    if is_text(head):
        return "it is text, not a video"
    return "it is not a video, or its beginning is damaged: FFmpeg knows no such format"


def is_mp4(head: bytes) -> bool:
    """Whether a file that begins so is MP4 or QuickTime."""
    return head[4:8] in MP4_BOXES


def boxes_end(file: BinaryIO, size: int) -> int:
    """Where the last box of an MP4 file ends, which is beyond its end if it is truncated.

    Args:
        file: The file.
        size: Of the file in bytes.
    """
    start = 0
    while start + 8 <= size:
        file.seek(start)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:], "big")
        if length < 8 or header[4:8] not in MP4_BOXES:  # up to the end; or something after it
            return size
        start += length
    return start


def is_text(head: bytes) -> bool:
    """Whether a file begins with printable characters of UTF-8."""
    text = head.decode("utf-8", errors="replace").rstrip("\ufffd")  # a character may be cut
    return all(character.isprintable() or character.isspace() for character in text)


def container_size(head: bytes) -> int:
    """Size of a file in bytes according to its beginning; 0 if that does not say."""
    if head.startswith(b"RIFF"):
        size = int.from_bytes(head[4:8], "little")
        return 0 if size == 2**32 - 1 else 8 + size
    segment = head.find(b"\x18\x53\x80\x67")
    if head.startswith(b"\x1a\x45\xdf\xa3") and 0 < segment < len(head) - 12:
        # A variable-length integer: as many bytes as the position of the first bit that is set.
        start = segment + 4
        length = 9 - head[start].bit_length()
        unknown = 2 ** (7 * length) - 1
        size = int.from_bytes(head[start : start + length], "big") & unknown
        return 0 if size == unknown else start + length + size
    return 0
