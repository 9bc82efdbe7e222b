"""Generated data sets on disk: made once, reused, replaced as a whole, never half there."""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

MARKER = "synthetic.json"


@dataclass(frozen=True)
class SetSpec:
    """What a generated set is made of; equal specs give equal bytes.

    A generator with more to say derives from this class and adds its fields to `MINIMA`.

    Attributes:
        num_train: Samples for training.
        num_val: Samples for validation; others than those for training.
        image_size: Longer side of images or frames in pixels.
        seed: Seed of the content. Sample k depends on it, on the split and on k, not on the counts.

    Raises:
        ValueError: A field is not an integer or below its minimum.
    """

    MINIMA: ClassVar[dict[str, int]] = {"num_train": 1, "num_val": 1, "image_size": 64, "seed": 0}

    num_train: int = 64
    num_val: int = 32
    image_size: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        """Validate every field."""
        for field in fields(self):
            value, minimum = getattr(self, field.name), self.MINIMA[field.name]
            if type(value) is not int or value < minimum:
                raise ValueError(f"{field.name} must be an integer >= {minimum}, got {value!r}")


Spec = TypeVar("Spec", bound=SetSpec)


@dataclass(frozen=True)
class GeneratedSet(Generic[Spec]):
    """A folder that a generator fills from a spec, with a marker file that says from which.

    Attributes:
        generator: Name in the marker file; a folder of another one is foreign.
        version: Part of the cache key: raised with every change that alters what is written.
        spec_type: Class of the specs.
        contents: Relative names of all files and folders of the set of a spec, without the marker.
        write: Fills an empty folder with the set of a spec.
    """

    generator: str
    version: int
    spec_type: type[Spec]
    contents: Callable[[Spec], set[str]]
    write: Callable[[Path, Spec], None]

    def make(self, root: Path, spec: Spec) -> Path:
        """Make sure that `root` holds the set of `spec`: reuse it, or generate it anew.

        The set is written into a sibling folder and renamed into place, so an interruption leaves
        no half set behind and processes that start together end with the same one.

        Returns:
            `root`.

        Raises:
            FileExistsError: `root` holds something else, which is never deleted.
        """
        target = Path(root).resolve()
        if self.is_complete(target, spec):
            return root
        self._refuse_foreign(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = _sibling(target)
        try:
            staging.mkdir()
            self.write(staging, spec)
            (staging / MARKER).write_text(self._marker(spec))
            self._install(staging, target, spec)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return root

    def is_complete(self, folder: Path, spec: Spec) -> bool:
        """Whether `folder` is the set of `spec` with no file missing."""
        if self._read_marker(folder) != (self.version, spec):
            return False
        try:
            return self._all_contents(spec) <= _listing(folder)
        except FileNotFoundError:  # another process is replacing it
            return False

    def _all_contents(self, spec: Spec) -> set[str]:
        return self.contents(spec) | {MARKER}

    def _marker(self, spec: Spec) -> str:
        content = {"generator": self.generator, "version": self.version, "spec": asdict(spec)}
        return json.dumps(content, indent=2) + "\n"

    def _read_marker(self, folder: Path) -> tuple[int, Spec] | None:
        """Generator version and spec of the set in `folder`; None if it is not one of ours."""
        try:
            content: dict[str, Any] = json.loads((folder / MARKER).read_text())
            if content["generator"] == self.generator:
                return content["version"], self.spec_type(**content["spec"])
        except (OSError, ValueError, TypeError, KeyError):
            pass
        return None

    def _refuse_foreign(self, folder: Path) -> None:
        """Raise unless `folder` is absent, empty, or holds nothing but a set of this generator."""
        while True:
            try:
                before = folder.stat().st_ino
                objection = self._foreign_content(folder)
                after = folder.stat().st_ino
            except FileNotFoundError:
                return
            if before == after:  # otherwise another process has replaced it while we looked
                break
        if objection:
            raise FileExistsError(f"{folder} {objection}: choose another folder, or move it away")

    def _foreign_content(self, folder: Path) -> str | None:
        """What speaks against deleting `folder`, as the rest of a sentence about it."""
        if not folder.is_dir():
            return "is a file, not the folder of a data set"
        listing = _listing(folder)
        if not listing:
            return None
        marker = self._read_marker(folder)
        if marker is None:
            return (
                "is not empty and was not made by the generator of the synthetic set "
                f"(it has no valid {MARKER})"
            )
        _, spec = marker
        foreign = sorted(listing - self._all_contents(spec))
        if foreign:
            return (
                f"holds an outdated synthetic set that would be deleted, but also {foreign[0]}, "
                "which the generator did not write"
            )
        return None

    def _install(self, staging: Path, target: Path, spec: Spec) -> None:
        """Rename `staging` to `target`, unless another process has put the same set there."""
        while True:
            try:
                os.rename(staging, target)
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            if self.is_complete(target, spec):
                return
            self._refuse_foreign(target)
            retired = _sibling(target)
            try:
                os.rename(target, retired)
            except FileNotFoundError:  # another process is at this very step
                continue
            try:
                os.rename(staging, target)
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            finally:
                shutil.rmtree(retired, ignore_errors=True)


def _listing(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def _sibling(target: Path) -> Path:
    """A free hidden name beside `target`, so that a rename stays on one file system."""
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}")
