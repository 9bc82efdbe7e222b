"""mmaction2's video datasets, with an error that names the file where list or video is at fault.

They are registered in mmengine's root registry: ``type='mmengine.CheckedVideoDataset'``.
"""

import sys
from typing import Any

from mmaction.datasets import RepeatAugDataset, VideoDataset
from mmengine.fileio import list_from_file
from mmengine.registry import DATASETS

from uniformer_mm.errors import UserError

LINE_FORMAT = "each line is a file name, a space and a class number"


class CheckedVideos:
    """Mix-in for a VideoDataset.

    Without it, mmaction evaluates videos without a label or with one beyond the classes as wrong
    predictions, and decord does not say which file it cannot read.
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
        path = self.get_data_info(idx)["filename"]
        remedy = f"Replace the file, or take it out of {self.ann_file}."
        decord = sys.modules.get("decord")
        try:
            return super().prepare_data(idx)  # type: ignore[misc]
        except UserError as error:
            raise UserError(f"{error}. {remedy}") from error
        except FileNotFoundError as error:
            raise UserError(f"there is no video {path}. {remedy}") from error
        except (OSError, RuntimeError, getattr(decord, "DECORDError", OSError)) as error:
            reason = str(error).strip().partition("\n")[0]
            raise UserError(f"{path} cannot be read: {reason}. {remedy}") from error

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
