"""Base class of the synthetic datasets: generated once, reused, and replaced as a whole."""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
from filelock import FileLock

from uniformer_mm.datasets.synthetic.drawing import Rng
from uniformer_mm.errors import UserError

MARKER = "synthetic.json"
MINIMA = {"num_train": 1, "num_val": 1, "image_size": 64, "seed": 0}


@dataclass(frozen=True)
class SyntheticDataset(ABC):
    """A dataset whose files depend on its fields only; a subclass writes one format on disk.

    Attributes:
        num_train: Number of training samples.
        num_val: Number of validation samples.
        image_size: Longer side of images or frames in pixels.
        seed: Sample k of a split depends on the seed, the split and k, not on the numbers.

    Raises:
        UserError: A field is not an integer or is below its minimum.
    """

    generator: ClassVar[str]
    """Name in the marker file; the dataset of another generator is never replaced."""

    version: ClassVar[int]
    """Increase it with every change that alters a pixel, an annotation or a file name."""

    splits: ClassVar[tuple[str, str]]
    """Names of the splits for training and validation."""

    num_train: int = 64
    num_val: int = 32
    image_size: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        """Validate every field."""
        for name, value in asdict(self).items():
            if type(value) is not int or value < MINIMA[name]:
                raise UserError(
                    f"synthetic dataset: {name} must be an integer >= {MINIMA[name]}, got {value!r}"
                )

    @abstractmethod
    def sample_files(self, split: str, index: int) -> list[str]:
        """Names of the files of one sample, relative to the root."""

    def split_files(self, split: str) -> list[str]:
        """Names of the files that list or annotate the samples of a split, relative to the root."""
        return []

    @abstractmethod
    def write_sample(self, paths: list[Path], index: int, rng: Rng) -> Any:
        """Write the files of one sample; return its record for `write_annotations`."""

    def write_annotations(self, paths: list[Path], split: str, records: list[Any]) -> None:
        """Write the files of a split; by default, a list whose lines are the records."""
        for path in paths:
            path.write_text("".join(records))

    def make(self, root: Path) -> Path:
        """Make sure that `root` holds this dataset: reuse it, or generate it.

        One process at a time generates. The files are written into a sibling folder that is renamed
        at the end, so an interruption leaves no partial dataset.

        Returns:
            `root`.

        Raises:
            UserError: `root` holds something else, which is never deleted.
        """
        target = Path(root).resolve()
        if self.is_complete(target):
            return root
        target.parent.mkdir(parents=True, exist_ok=True)
        partial, replaced = (target.with_name(f".{target.name}.{x}") for x in ("partial", "old"))
        with FileLock(target.with_name(f".{target.name}.lock")):
            if self.is_complete(target):  # another process was faster
                return root
            _refuse_foreign_files(target, type(self))
            _remove(partial, replaced)  # of a process that was killed
            try:
                self._write(partial)
                if target.exists():
                    target.rename(replaced)
                partial.rename(target)
            finally:
                _remove(partial, replaced)
        return root

    def is_complete(self, folder: Path) -> bool:
        """Whether `folder` is this dataset with no file missing."""
        return _read_marker(folder, type(self)) == (self.version, self) and all(
            (folder / name).exists() for name in self.files() | self.folders()
        )

    def files(self) -> set[str]:
        """Relative names of all files."""
        names = {MARKER}
        for split, count in self._counts():
            names.update(self.split_files(split))
            for index in range(count):
                names.update(self.sample_files(split, index))
        return names

    def folders(self) -> set[str]:
        """Relative names of all folders."""
        parents = (PurePosixPath(name).parents for name in self.files())
        return {folder.as_posix() for each in parents for folder in each} - {"."}

    def _counts(self) -> list[tuple[str, int]]:
        return [*zip(self.splits, (self.num_train, self.num_val), strict=True)]

    def _write(self, root: Path) -> None:
        root.mkdir()
        for folder in self.folders():
            (root / folder).mkdir(parents=True, exist_ok=True)
        for number, (split, count) in enumerate(self._counts()):
            records = []
            for index in range(count):
                paths = [root / name for name in self.sample_files(split, index)]
                rng = np.random.default_rng((self.seed, number, index))
                records.append(self.write_sample(paths, index, rng))
            self.write_annotations([root / x for x in self.split_files(split)], split, records)
        marker = {"generator": self.generator, "version": self.version, "spec": asdict(self)}
        (root / MARKER).write_text(json.dumps(marker, indent=2) + "\n")


def _remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _read_marker(folder: Path, kind: type[SyntheticDataset]) -> tuple[int, SyntheticDataset] | None:
    """Version and dataset in `folder`; None if it is not of this kind."""
    try:
        content = json.loads((folder / MARKER).read_text())
        if content["generator"] == kind.generator:
            return content["version"], kind(**content["spec"])
    except (OSError, ValueError, TypeError, KeyError, UserError):
        pass
    return None


def _refuse_foreign_files(folder: Path, kind: type[SyntheticDataset]) -> None:
    """Raise unless `folder` is absent, empty, or holds nothing but a dataset of this kind."""
    if folder.exists() and not folder.is_dir():
        objection = "is a file, not the folder of a dataset"
    elif not (contents := _contents(folder)):
        return
    elif (marker := _read_marker(folder, kind)) is None:
        objection = f"was not generated by --synthetic: it is not empty and has no valid {MARKER}"
    elif foreign := sorted(contents - marker[1].files() - marker[1].folders()):
        objection = f"holds an outdated synthetic dataset, but also {foreign[0]}"
    else:
        return
    raise UserError(f"{folder} {objection}. Choose another folder, or move this one away")


def _contents(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
