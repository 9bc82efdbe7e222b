"""Why a video cannot be read."""

import os
from typing import Any, BinaryIO

from uniformer_mm.errors import UserError

HEAD_SIZE = 4096
"""Bytes from the beginning of a file that hold the size of its container."""

MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
"""With one of these an MP4 or QuickTime file begins."""


def head_and_size(source: str | BinaryIO) -> tuple[bytes, int]:
    """The first bytes of a file, and its size in bytes.

    Raises:
        OSError: It cannot be read.
    """
    if isinstance(source, str):
        with open(source, "rb") as file:
            return file.read(HEAD_SIZE), os.path.getsize(source)
    size = source.seek(0, os.SEEK_END)
    source.seek(0)
    head = source.read(HEAD_SIZE)
    source.seek(0)
    return head, size


def check_size(name: str, head: bytes, size: int) -> None:
    """Refuse an empty file, and an AVI, Matroska or WebM file that is shorter than it says.

    FFmpeg takes the latter for shorter videos.

    Args:
        name: What the error calls the file.
        head: Its first bytes.
        size: Its size in bytes.

    Raises:
        UserError: Bytes are missing.
    """
    if not size:
        raise UserError(f"{name} cannot be read: the file is empty")
    missing = container_size(head) - size
    if missing > 0:
        raise UserError(f"{name} cannot be read: it is truncated, {missing} bytes are missing")


def check_samples(name: str, stream: Any, size: int) -> None:
    """Refuse an MP4 file whose index points beyond its end.

    Args:
        name: What the error calls the file.
        stream: PyAV's stream.
        size: Of the file in bytes.

    Raises:
        UserError: It does.
    """
    missing = max((entry.pos + entry.size for entry in stream.index_entries), default=0) - size
    if missing > 0:
        raise UserError(f"{name} cannot be read: it is truncated, {missing} bytes are missing")


def why_not_opened(head: bytes) -> str:
    """Why FFmpeg finds no container in a file that begins so."""
    if head[4:8] in MP4_BOXES:
        return "it is truncated, or its recording was not completed: the index at its end is absent"
    if is_text(head):
        return "it is text, not a video"
    return "it is not a video, or its beginning is damaged: FFmpeg knows no such format"


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
