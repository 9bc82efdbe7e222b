"""mmaction2's video datasets with errors that name the faulty line or video.

They are registered in mmengine's root registry: ``type='mmengine.CheckedVideoDataset'``.
"""

import os
import sys
from collections.abc import Sequence
from logging import INFO
from typing import Any, ClassVar, NamedTuple

from mmaction.datasets import RawframeDataset, RepeatAugDataset, VideoDataset
from mmaction.datasets.base import BaseActionDataset
from mmengine.fileio import list_from_file
from mmengine.logging import print_log
from mmengine.registry import DATASETS

from uniformer_mm.errors import UserError

DELIMITERS = (" ", ",", "\t", ";")
"""Delimiters that are detected where the configured one does not fit."""


class ListFormat(NamedTuple):
    """Format of the lines of a list.

    Attributes:
        entries: What stands before the labels, in words.
        counts: How many numbers stand between the name and the labels.
        multi_class: Whether a line may have several labels.
        num_classes: Upper bound of the labels; None for any.
        delimiter: Delimiter of the entries.
    """

    entries: str
    counts: int
    multi_class: bool
    num_classes: int | None
    delimiter: str

    @classmethod
    def of(cls, dataset: Any) -> "ListFormat":
        """Return the format for the config of a VideoDataset, RawframeDataset or subclass."""
        frames = "Rawframe" in dataset["type"]
        offset = dataset.get("with_offset", False)
        folder = f"a folder,{' the first frame,' * offset} a number of frames"
        return cls(
            folder if frames else "a file name",
            frames + offset,
            dataset.get("multi_class", False),
            dataset.get("num_classes"),
            dataset.get("delimiter", " "),
        )

    def __str__(self) -> str:
        """The format in words."""
        return (
            f"each line is {self.entries}, a space and a class number (or another delimiter:"
            " `delimiter` of the dataset)"
        )

    def split(self, line: str) -> tuple[str, list[int]]:
        """Split into the name, which may contain the delimiter, and all numbers at the end."""
        parts = line.strip().split(self.delimiter)
        end = len(parts)
        while end > 1 and parts[end - 1].strip().isdecimal():
            end -= 1
        return self.delimiter.join(parts[:end]).strip(), list(map(int, parts[end:]))

    def fits(self, line: str) -> bool:
        """Whether a line has a name and as many numbers as it should."""
        name, numbers = self.split(line)
        labels = len(numbers) - self.counts
        is_name = bool(name) and name[-1] not in ",;"
        return is_name and (labels > 0 if self.multi_class else labels == 1)

    def fault_in(self, line: str) -> str:
        """Return what is wrong with a line, if anything."""
        if self.delimiter not in line.strip():
            return f"has no label: {self}"
        name, numbers = self.split(line)
        if not self.fits(line):
            labels = " and labels" if self.multi_class else " and a label"
            hint = ". Several labels need multi_class=True" * (len(numbers) > self.counts + 1)
            return f"is not {self.entries}{labels}: {self}{hint}"
        if not name.isprintable():  # such as a byte order mark, which no editor shows
            return f"has an invisible character in the file name: {self}"
        if self.num_classes is not None and max(numbers[self.counts :]) >= self.num_classes:
            return (
                f"has a label beyond the {self.num_classes} classes, which are numbered from 0:"
                " correct it, or set num_classes of the head, the blending and the datasets"
            )
        return ""


def read_list(path: str, form: ListFormat) -> tuple[ListFormat, list[tuple[str, list[int]]]]:
    """Return the format with the delimiter that a list has, and names and numbers of its lines.

    Raises:
        UserError: It is empty or not text, or a line does not have the format.
    """
    try:
        lines = list_from_file(path)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text in UTF-8: {form}") from error
    if not lines:
        raise UserError(f"{path} lists no videos: {form}")
    if not all(map(form.fits, lines)):
        forms = [form._replace(delimiter=sign) for sign in (form.delimiter, *DELIMITERS)]
        found = max(forms, key=lambda candidate: sum(map(candidate.fits, lines)))
        if found != form:
            message = f"{path}: the delimiter is {found.delimiter!r}, not {form.delimiter!r}"
            print_log(message, logger="current", level=INFO)
        form = found
    for number, line in enumerate(lines, start=1):
        fault = form.fault_in(line)
        if fault:
            raise UserError(f"{path}, line {number}: {line.strip()!r} {fault}")
    return form, [form.split(line) for line in lines]


def check_plain_list(path: str, dataset: Any) -> None:
    """Check the list of a dataset of mmaction's own, which reads fewer formats than ours.

    Raises:
        UserError: A line does not have the format, or only the checked dataset can read it.
    """
    form = ListFormat.of(dataset)
    found, entries = read_list(path, form)
    for number, (name, _) in enumerate(entries, start=1):
        if found != form or form.delimiter in name:
            raise UserError(
                f"{path}, line {number}: mmaction2's {dataset['type']} takes"
                f" {form.delimiter!r} for the delimiter and cannot read {name!r};"
                f" type='mmengine.Checked{dataset['type']}' can"
            )


class CheckedList:
    """Mix-in for a dataset of mmaction's with one line per video in its list.

    mmaction itself counts missing labels and those beyond the classes as wrong predictions, crashes
    at a faulty line without naming it, and knows one delimiter.
    """

    kind: ClassVar[str]
    folder: ClassVar[str]
    ann_file: str
    data_prefix: dict[str, str | None]
    multi_class: bool
    num_classes: int | None

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return videos and labels.

        Raises:
            UserError: There are none, or a line does not have the format.
        """
        if self.multi_class and self.num_classes is None:
            raise UserError(f"{self.ann_file}: a dataset with multi_class=True needs num_classes")
        form, entries = read_list(self.ann_file, ListFormat.of({"type": self.kind, **vars(self)}))
        prefix = self.data_prefix[self.folder] or ""
        infos = []
        for name, numbers in entries:
            labels = numbers[form.counts :]
            info = self.info(os.path.join(prefix, name), numbers)
            infos.append({**info, "label": labels if self.multi_class else labels[0]})
        return infos

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the classes of a video, for mmengine's ClassBalancedDataset."""
        label = super(BaseActionDataset, self).get_data_info(idx)["label"]  # type: ignore[misc]
        return list(label) if self.multi_class else [label]

    def info(self, path: str, numbers: Sequence[int]) -> dict[str, Any]:
        """Return the keys of a sample for the pipeline."""
        raise NotImplementedError


class CheckedVideos(CheckedList):
    """Mix-in for a VideoDataset, whose errors name the video."""

    kind = "VideoDataset"
    folder = "video"
    get_data_info: Any

    def info(self, path: str, numbers: Sequence[int]) -> dict[str, Any]:
        """Return the file."""
        return {"filename": path}

    def prepare_data(self, idx: int) -> Any:
        """Read and transform a video.

        Raises:
            UserError: It does not exist or cannot be decoded.
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


@DATASETS.register_module()
class CheckedVideoDataset(CheckedVideos, VideoDataset):
    """mmaction's VideoDataset with `num_classes`, checked."""


@DATASETS.register_module()
class CheckedRepeatAugDataset(CheckedVideos, RepeatAugDataset):
    """mmaction's RepeatAugDataset with `num_classes`, checked."""


@DATASETS.register_module()
class CheckedRawframeDataset(CheckedList, RawframeDataset):
    """mmaction's RawframeDataset with `num_classes`, checked."""

    kind = "RawframeDataset"
    folder = "img"
    with_offset: bool

    def info(self, path: str, numbers: Sequence[int]) -> dict[str, Any]:
        """Return the folder and its frames."""
        *offset, total = numbers[: 1 + self.with_offset]
        frames = {"offset": offset[0]} if offset else {}
        return {"frame_dir": path, "total_frames": total, **frames}
