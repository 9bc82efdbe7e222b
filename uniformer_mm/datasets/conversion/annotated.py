"""Images with annotated objects, as the readers of all formats return them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.finding import IMAGE_SUFFIXES
from uniformer_mm.datasets.synthetic.coco import mask_to_polygons, mask_to_rle
from uniformer_mm.datasets.validation.image_sizes import ORIENTATION
from uniformer_mm.errors import UserError, printable

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Split by the name of a folder or list, in lower case."""

Box = tuple[float, float, float, float]
"""x, y, width and height in pixels."""


@dataclass
class Instance:
    """An object in an image.

    Attributes:
        name: Its class.
        box: None where the format has an outline or keypoints only.
        polygons: Outlines [x0, y0, x1, y1, ...] of its parts in pixels.
        rle: Uncompressed run lengths of a mask that polygons cannot represent.
        keypoints: x, y in pixels and visibility of each (0: not labelled, 1: occluded, 2: visible).
        is_crowd: Whether it is to be ignored.
        num_pixels: Area of a mask; 0 for other outlines.
    """

    name: str
    box: Box | None = None
    polygons: list[list[float]] = field(default_factory=list)
    rle: dict[str, Any] | None = None
    keypoints: list[float] = field(default_factory=list)
    is_crowd: bool = False
    num_pixels: int = 0

    def set_mask(self, mask: NDArray[np.bool_]) -> None:
        """Take a mask (H, W) of the image as outline; nothing if it is empty."""
        if not mask.any():
            return
        self.num_pixels = int(mask.sum())
        polygons = mask_to_polygons(mask)
        if polygons is None:
            self.rle = mask_to_rle(mask)
        else:
            self.polygons = polygons
        if self.box is None:
            rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
            self.box = _box_of(columns[[0, -1]] + [0, 1], rows[[0, -1]] + [0, 1])

    def add(self, other: "Instance") -> None:
        """Add another part of the same object."""
        self.box = self.box or other.box
        self.polygons += other.polygons
        self.rle = self.rle or other.rle
        self.num_pixels += other.num_pixels
        self.keypoints = self.keypoints or other.keypoints

    def enclosing_box(self) -> Box:
        """The box, or that around the outline, or around the labelled keypoints."""
        if self.box is not None:
            return self.box
        points = np.array([value for polygon in self.polygons for value in polygon]).reshape(-1, 2)
        if not len(points):
            keypoints = np.array(self.keypoints).reshape(-1, 3)
            points = keypoints[keypoints[:, 2] > 0, :2]
        return _box_of(points[:, 0], points[:, 1]) if len(points) else (0.0, 0.0, 0.0, 0.0)

    def area(self) -> float:
        """Area in pixels of the outline, or of the box."""
        if self.num_pixels:
            return float(self.num_pixels)
        if not self.polygons:
            _, _, width, height = self.enclosing_box()
            return width * height
        return sum(map(_polygon_area, self.polygons))


@dataclass
class AnnotatedImage:
    """An image and its objects.

    Attributes:
        path: Its file.
        size: Width and height in pixels, as loaders see it or as the annotations state it.
        split: 'train', 'val' or 'test'; empty if the dataset has no splits.
        instances: The objects.
    """

    path: Path
    size: tuple[int, int]
    split: str = ""
    instances: list[Instance] = field(default_factory=list)


@dataclass
class AnnotatedDataset:
    """A dataset of another format.

    Attributes:
        root: Its folder.
        classes: Names in the order of the format.
        images: Its images; one may be in several splits.
        keypoints: Names of the keypoints by class.
        swaps: Index of the keypoint on the other side, for each; empty if the format has none.
        skipped: Number of annotations that were left out, by reason.
    """

    root: Path
    classes: tuple[str, ...]
    images: list[AnnotatedImage] = field(default_factory=list)
    keypoints: dict[str, tuple[str, ...]] = field(default_factory=dict)
    swaps: tuple[int, ...] = ()
    skipped: Counter[str] = field(default_factory=Counter)


def require(module: str, format_: str) -> ModuleType:
    """Import a module of a library that parses a format.

    Raises:
        UserError: The library is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(
            f"--{format_} needs {module.partition('.')[0]}: pip install 'uniformer-mm[formats]'"
            f" ({error})"
        ) from error


@contextmanager
def errors_of(place: str | Path, remedy: str) -> Iterator[None]:
    """Turn what a library raises about a file into a `UserError` that names it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = printable(" ".join(str(error).split()) or type(error).__name__, 200)
        raise UserError(f"{place}: {reason}. {remedy}") from error


def find_images(folder: Path) -> list[Path]:
    """Return the images in a folder and below, sorted, without hidden files."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def split_of(path: Path) -> str:
    """Return the split that a folder in a relative path names; empty if none does."""
    names = [SPLIT_NAMES[part.lower()] for part in path.parts[:-1] if part.lower() in SPLIT_NAMES]
    return names[0] if names else ""


def image_size(path: Path) -> tuple[int, int]:
    """Return width and height of an image as loaders rotate it (EXIF), without decoding it.

    Raises:
        UserError: The file is not an image.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            width, height = image.size
            rotated = image.getexif().get(ORIENTATION, 1) >= 5
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(
            f"{path} cannot be read as an image, and its size is unknown: replace the file, or"
            f" remove it with its annotations ({printable(str(error), 200)})"
        ) from error
    return (height, width) if rotated else (width, height)


def merge_groups(parts: Iterable[tuple[object, Instance]]) -> list[Instance]:
    """Merge parts of one class and group into one instance; None stands for no group."""
    merged: list[Instance] = []
    groups: dict[tuple[str, object], Instance] = {}
    for group, part in parts:
        first = groups.get((part.name, group))
        if group is None or first is None:
            merged.append(part)
            groups[part.name, group] = part
        else:
            first.add(part)
    return merged


def _box_of(xs: NDArray[Any], ys: NDArray[Any]) -> Box:
    left, top = float(xs.min()), float(ys.min())
    return left, top, float(xs.max()) - left, float(ys.max()) - top


def _polygon_area(polygon: list[float]) -> float:
    x, y = np.array(polygon).reshape(-1, 2).T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)
