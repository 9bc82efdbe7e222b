"""mmaction2's video datasets, with an error that names the file where list or video is at fault.

They are registered in mmengine's root registry: ``type='mmengine.CheckedVideoDataset'``.
"""

import os
from typing import Any

from mmaction.datasets import RepeatAugDataset, VideoDataset
from mmengine.fileio import list_from_file
from mmengine.registry import DATASETS

from uniformer_mm.errors import UserError

HEAD_SIZE = 4096
"""Bytes from the beginning of a file that hold the size of its container."""

SHORT_ROWS = "from_size == to_size"
"""What decord says where it takes the bytes that fill up a row of pixels for colours."""

TOO_NARROW = (
    "it is narrower than decord can read (that takes frames of 8, 16, 24, 48 and 72 pixels' width,"
    " and others below 96, for ones of more colours). Enlarge it, to a width of 96 for instance"
)

LINE_FORMAT = "each line is a file name, a space and a class number"


class CheckedVideos:
    """Mix-in for a VideoDataset.

    Without it, mmaction evaluates videos without a label or with one beyond the classes as wrong
    predictions, decord does not say which file it cannot read, and a truncated AVI file ends the
    process.
    """

    ann_file: str
    delimiter: str
    multi_class: bool
    num_classes: int | None
    get_data_info: Any

    def load_data_list(self) -> list[dict[str, Any]]:
        """Videos and labels of the list file.

        Raises:
            UserError: There are none, or a line is not a file name and a label from 0 to
                `num_classes` - 1.
        """
        try:
            lines = list_from_file(self.ann_file)
        except UnicodeDecodeError as error:
            raise UserError(f"{self.ann_file} is not text in UTF-8: {LINE_FORMAT}") from error
        if not lines:
            raise UserError(f"{self.ann_file} lists no videos: {LINE_FORMAT}")
        for number, line in enumerate(lines, start=1):
            fault = self._fault_in(line)
            if fault:
                raise UserError(f"{self.ann_file}, line {number}: {line.strip()!r} {fault}")
        return super().load_data_list()  # type: ignore[misc]

    def prepare_data(self, idx: int) -> Any:
        """Read and transform a video.

        Raises:
            UserError: There is no such file, or it cannot be decoded.
        """
        from decord import DECORDError

        path = self.get_data_info(idx)["filename"]
        remedy = f"Replace the file, or take it out of {self.ann_file}."
        try:
            if os.path.isfile(path):
                check_size(path)
            return super().prepare_data(idx)  # type: ignore[misc]
        except FileNotFoundError as error:
            raise UserError(f"there is no video {path}. {remedy}") from error
        except (DECORDError, RuntimeError, EOFError, OSError) as error:
            raise UserError(f"{path} cannot be read: {why_unreadable(error)}. {remedy}") from error

    def _fault_in(self, line: str) -> str:
        """What is wrong with a line, as the rest of a sentence about it; empty if nothing."""
        name, *labels = line.strip().split(self.delimiter)
        if not labels:
            return f"has no label: {LINE_FORMAT}"
        if not name.isprintable():  # such as a byte order mark, which no editor shows
            return f"has an invisible character in the file name: {LINE_FORMAT}"
        if (len(labels) > 1 and not self.multi_class) or not all(map(str.isdecimal, labels)):
            return f"is not a file name and a label: {LINE_FORMAT}"
        if self.num_classes is not None and max(map(int, labels)) >= self.num_classes:
            return (
                f"has a label beyond the {self.num_classes} classes, which are numbered from 0:"
                " correct it, or set num_classes of the head, the blending and the datasets"
            )
        return ""


@DATASETS.register_module()
class CheckedVideoDataset(CheckedVideos, VideoDataset):
    """mmaction's VideoDataset with `num_classes`, checked."""


@DATASETS.register_module()
class CheckedRepeatAugDataset(CheckedVideos, RepeatAugDataset):
    """mmaction's RepeatAugDataset with `num_classes`, checked."""


def why_unreadable(error: Exception) -> str:
    """What an error of decord's, or of `check_size`, says of a file."""
    if SHORT_ROWS in str(error):
        return TOO_NARROW
    reason = str(error).strip().splitlines()[0]
    return f"it is truncated, or not a video ({reason})"


def check_size(path: str) -> None:
    """Refuse an AVI, Matroska or WebM file that is shorter than it says.

    decord crashes on the first and takes the others for shorter videos. MP4 files need no check:
    decord refuses truncated ones.

    Raises:
        EOFError: Bytes are missing.
    """
    with open(path, "rb") as file:
        expected = container_size(file.read(HEAD_SIZE))
    missing = expected - os.path.getsize(path)
    if missing > 0:
        raise EOFError(f"{missing} bytes are missing at its end")


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
