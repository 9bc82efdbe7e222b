"""Read and check annotation files in COCO format.

The files may have millions of annotations: lists are read in batches and checked column by column.
Annotations that a codebase leaves out are counted by reason. Values that would crash it, or that it
would misinterpret, are errors.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.validation.json_stream import stream_json
from uniformer_mm.errors import UserError

Entry = dict[str, Any]
Mask = NDArray[np.bool_]

LISTS = ("images", "annotations", "categories")

TOLERANCE = 2.0
"""Pixels that a box may extend beyond its image: rounding, and coordinates counted from 1."""

MANY = 0.1
"""Share of boxes beyond their image from which on a warning is logged."""


@dataclass
class Report:
    """What a dataset uses of an annotation file.

    Attributes:
        line: How many annotations are used, and why others are left out.
        warnings: Likely mistakes in the file.
        used: Number of annotations.
        images: Number of images; None if the samples are not images.
    """

    line: str
    warnings: list[str] = field(default_factory=list)
    used: int = 0
    images: int | None = None


# ------------------------------------------------------------------------------------- the file


def read_coco(path: str) -> Iterable[tuple[str, list[Entry]]]:
    """Yield the lists of an annotation file; images and annotations come in batches.

    Raises:
        UserError: The file does not exist, is not in COCO format, or lacks a list.
    """
    found = set()
    try:
        for name, value in stream_json(path, LISTS[:2]):
            if name in LISTS:
                if not isinstance(value, list) or not set(map(type, value)) <= {dict}:
                    raise TypeError(f"{name!r} is not a list of objects")
                found.add(name)
                yield name, value
        if missing := [name for name in LISTS if name not in found]:
            raise LookupError(f"no {missing[0]!r}")
    except FileNotFoundError as error:
        raise UserError(f"no annotation file {path}") from error
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise UserError(
            f"{path} is not in COCO format ({type(error).__name__}: {error}): it needs the lists"
            f" {', '.join(map(repr, LISTS))} of objects"
        ) from error


def read_categories(path: str) -> list[Entry]:
    """Return the categories of an annotation file.

    Raises:
        UserError: The file does not exist or is not in COCO format.
    """
    return dict(read_coco(path))["categories"]


# ----------------------------------------------------------------------------------- the fields


@dataclass(frozen=True)
class Field:
    """A field of the entries of a list.

    Attributes:
        name: Its key.
        expected: Which values are valid, in words.
        parse: Converts the values of many entries; returns None if one of them is not valid.
        default: Value where it is absent; without one, it is required.
    """

    name: str
    expected: str
    parse: Callable[[Sequence[Any]], Any]
    default: Any = None

    def read(self, path: str, kind: str, entries: Sequence[Entry], required: bool = False) -> Any:
        """Return the values of some entries, parsed.

        Args:
            path: The file, for the error.
            kind: 'image', 'annotation' or 'category', for the error.
            entries: The entries.
            required: Ignore the default.

        Raises:
            UserError: A value is not valid.
        """
        values = column(entries, self.name, None if required else self.default)
        parsed = self.parse(values)
        if parsed is None:
            row = next(row for row, value in enumerate(values) if self.parse([value]) is None)
            raise UserError(
                f"{path}: {kind} {shown(entries[row].get('id'))} has the {self.name}"
                f" {shown(values[row])}, expected {self.expected}"
            )
        return parsed


def parse_numbers(
    values: Sequence[Any], count: int | None = None, above: float = -math.inf
) -> NDArray[np.float64] | None:
    """Parse finite numbers above a bound to (N,), or lists of `count` of them to (N, count)."""
    flat = values
    if count is not None:
        if not set(map(type, values)) <= {list} or not set(map(len, values)) <= {count}:
            return None
        flat = list(chain.from_iterable(values))
    if not set(map(type, flat)) <= {int, float, bool}:
        return None
    try:
        array = np.array(flat, float)
    except OverflowError:  # an integer of more than 308 digits
        return None
    if not (np.isfinite(array) & (array > above)).all():
        return None
    return array if count is None else array.reshape(-1, count)


def _parse_ids(values: Sequence[Any]) -> Sequence[Any] | None:
    return values if set(map(type, values)) <= {int, str} else None


def _parse_names(values: Sequence[Any]) -> Sequence[str] | None:
    return values if set(map(type, values)) <= {str} and all(values) else None


def _parse_flags(values: Sequence[Any]) -> NDArray[np.float64] | None:
    return (
        parse_numbers(values) if set(map(type, values)) <= {int} and set(values) <= {0, 1} else None
    )


FILE_NAME = Field("file_name", "a name", _parse_names)
WIDTH = Field("width", "a number of pixels", partial(parse_numbers, above=0))
HEIGHT = Field("height", WIDTH.expected, WIDTH.parse)
NAME = Field("name", "a name", _parse_names)
IMAGE_ID = Field("image_id", "the id of an image", _parse_ids)
CATEGORY_ID = Field("category_id", "the id of a category", _parse_ids)
AREA = Field("area", "a finite number", parse_numbers, default=0)
ISCROWD = Field("iscrowd", "0 or 1", _parse_flags, default=0)
BBOX = Field(
    "bbox",
    "four finite numbers x, y, width, height",
    partial(parse_numbers, count=4),
    default=[0, 0, 0, 0],
)


def check_ids(path: str, kind: str, ids: Sequence[Any], integers: bool = False) -> None:
    """Check that ids are integers, or all strings, and that each occurs once.

    Args:
        path: The file, for the error.
        kind: 'images', 'annotations' or 'categories'.
        ids: Their ids.
        integers: Whether strings are errors too.

    Raises:
        UserError: An id is of another type, or occurs twice.
    """
    expected = str if ids and type(ids[0]) is str and not integers else int
    for row, id_ in enumerate(ids):
        if type(id_) is not expected:
            raise UserError(
                f"{path}: {kind}[{row}] has the id {shown(id_)}, expected"
                f" {'a string like the others' if expected is str else 'an integer'}"
            )
    if len(set(ids)) < len(ids):
        ((twice, _),) = Counter(ids).most_common(1)
        raise UserError(f"{path} has two {kind} with the id {twice!r}: make ids unique")


def category_names(path: str, categories: Sequence[Entry]) -> tuple[str, ...]:
    """Return the names of the categories in the order of the file, by which mmdet numbers classes.

    Raises:
        UserError: There are no categories, or names or ids are missing or repeated.
    """
    if not categories:
        raise UserError(f"{path} lists no categories")
    check_ids(path, "categories", column(categories, "id"))
    names = NAME.read(path, "category", categories)
    if len(set(names)) < len(names):
        ((twice, _),) = Counter(names).most_common(1)
        raise UserError(f"{path} has two categories with the name {twice!r}")
    return tuple(names)


# -------------------------------------------------------------------------- images, annotations


class Images:
    """Ids and sizes of the images in a file.

    Args:
        path: The file.
        integers: Whether ids have to be integers.
    """

    def __init__(self, path: str, integers: bool = False) -> None:
        self.path = path
        self.integers = integers
        self.ids: list[Any] = []
        self.parts: list[NDArray[np.float64]] = []

    def __len__(self) -> int:
        """Number of images."""
        return len(self.ids)

    def add(self, images: Sequence[Entry]) -> None:
        """Add a batch of images.

        Raises:
            UserError: An image has a wrong value.
        """
        fields = (FILE_NAME, WIDTH, HEIGHT)
        _, *sizes = (field.read(self.path, "image", images) for field in fields)
        self.ids += column(images, "id")
        self.parts.append(np.column_stack(sizes))

    def finish(self) -> None:
        """Index the images when all are added.

        Raises:
            UserError: There are none, or ids are wrong or repeated.
        """
        if not self.ids:
            raise UserError(f"{self.path} has no images")
        check_ids(self.path, "images", self.ids, self.integers)
        self.sizes = joined(self.parts, 2)
        self.index = {id_: index for index, id_ in enumerate(self.ids)}


class Annotations:
    """Annotations of a file, checked and counted as far as all codebases read them.

    Subclasses define in `report` which of them are used.

    Args:
        path: The file.
        required: Which of bbox, area and iscrowd every annotation needs.
        integers: Whether ids have to be integers.
    """

    integer_images = False
    """Whether ids of images have to be integers."""

    def __init__(self, path: str, required: Sequence[str] = (), integers: bool = False) -> None:
        self.path = path
        self.required = required
        self.integers = integers
        self.ids: list[Any] = []
        self.image_ids: list[Any] = []
        self.category_ids: list[Any] = []
        self.parts: list[NDArray[np.float64]] = []

    def __len__(self) -> int:
        """Number of annotations."""
        return len(self.ids)

    def add(self, annotations: Sequence[Entry]) -> None:
        """Add a batch of annotations.

        Raises:
            UserError: An annotation has a wrong value.
        """
        images, categories, boxes, areas, crowds = (
            field.read(self.path, "annotation", annotations, field.name in self.required)
            for field in (IMAGE_ID, CATEGORY_ID, BBOX, AREA, ISCROWD)
        )
        self.ids += column(annotations, "id")
        self.image_ids += images
        self.category_ids += categories
        self.parts.append(np.column_stack([boxes, areas, crowds]))

    def finish(self, images: Images, categories: Sequence[Entry]) -> Report:
        """Report what is used when all annotations are added.

        Raises:
            UserError: The file cannot be used.
        """
        check_ids(self.path, "annotations", self.ids, self.integers)
        self.images = images
        self.image_rows = np.array([images.index.get(id_, -1) for id_ in self.image_ids], int)
        self.known = self.image_rows >= 0
        columns = joined(self.parts, 6)
        self.boxes, self.areas, self.crowds = columns[:, :4], columns[:, 4], columns[:, 5] > 0
        # Boxes without an image are not compared with its size.
        self.sizes = np.full((len(self), 2), np.inf)
        self.sizes[self.known] = images.sizes[self.image_rows[self.known]]
        return self.report(categories)

    def report(self, categories: Sequence[Entry]) -> Report:
        """Return what is used."""
        raise NotImplementedError

    def summarize(
        self, reasons: Sequence[tuple[Mask, str]], images: int | None, required: bool
    ) -> Report:
        """Count annotations by the first reason for which they are left out.

        Args:
            reasons: Which annotations are left out, and why.
            images: Number of images of the dataset; None if its samples are not images.
            required: Whether it is an error if nothing is left.

        Raises:
            UserError: Nothing is left.
        """
        left = np.ones(len(self), bool)
        parts = []
        for mask, reason in reasons:
            if count := int((left & mask).sum()):
                parts.append(f"{count} {reason}")
                left &= ~mask
        used = int(left.sum())
        hints = self.hints()
        because = f": {', '.join(parts)}" if parts else ""
        if not used and required:
            hint = "".join(f". {text[0].upper()}{text[1:]}" for text in hints)
            raise UserError(
                f"{self.path}: none of its {len(self)} annotations can be used{because}{hint}"
            )
        place = "" if images is None else f" in {images} of {len(self.images)} images"
        line = f"{self.path}: {used} of {len(self)} annotations are used{place}"
        line += f"; left out{because}" if parts else ""
        return Report(line, [f"{self.path}: {hint}" for hint in hints], used, images)

    def hints(self) -> list[str]:
        """Return likely mistakes in ids and boxes."""
        hints = []
        unknown = {self.image_ids[row] for row in np.flatnonzero(~self.known)}
        if mixed := same_but_for_type(unknown, self.images.index):
            hints.append(f"image_id {mixed} in annotations and images")
        boxes, width, height = self.boxes, self.sizes[:, 0], self.sizes[:, 1]
        if boxes.any() and (boxes >= 0).all() and (boxes <= 1).all():
            hints.append(normalized("boxes"))
        x, y, w, h = boxes.T
        low = -TOLERANCE
        with np.errstate(all="ignore"):
            beyond = (x < low) | (y < low) | (x + w > width - low) | (y + h > height - low)
            corners = (w > x) & (h > y) & (w <= width - low) & (h <= height - low)
        known = int(self.known.sum())
        if known and (count := int((beyond & self.known).sum())) > MANY * known:
            likely = (
                "they look like x1, y1, x2, y2, COCO's are x, y, width, height"
                if corners[self.known & self.boxes.any(1)].all()
                else "they may be for images of another size, or x1, y1, x2, y2 instead of x, y,"
                " width, height"
            )
            hints.append(f"{count} of {known} boxes extend beyond their image: {likely}")
        return hints


def check_file(path: str, annotations: Annotations) -> Report:
    """Check an annotation file for a dataset.

    Args:
        path: The file.
        annotations: Collects and checks the annotations.

    Returns:
        What the dataset uses.

    Raises:
        UserError: The file is invalid, ambiguous, or leaves nothing to train on.
    """
    images = Images(path, annotations.integer_images)
    for name, entries in read_coco(path):
        if name == "images":
            images.add(entries)
        elif name == "annotations":
            annotations.add(entries)
        else:
            categories = entries
    images.finish()
    return annotations.finish(images, categories)


# -------------------------------------------------------------------------------------- helpers


def column(entries: Sequence[Entry], name: str, default: Any = None) -> list[Any]:
    """Return one value of each entry."""
    with suppress(KeyError):
        return list(map(itemgetter(name), entries))
    return [entry.get(name, default) for entry in entries]


def joined(parts: Sequence[NDArray[Any]], count: int) -> NDArray[np.float64]:
    """Concatenate arrays of `count` columns, of which there may be none."""
    return np.concatenate([np.zeros((0, count)), *parts])


def taken(rows: NDArray[np.int64], indices: int | Sequence[int] | None) -> NDArray[np.int64]:
    """Select from rows as `indices` of a dataset does; an integer stands for the first ones."""
    if indices is None:
        return rows
    if isinstance(indices, int):
        return rows[:indices] if indices >= 0 else rows[indices:]
    return rows[[index for index in indices if -len(rows) <= index < len(rows)]]


def same_but_for_type(unknown: Iterable[Any], listed: Iterable[Any]) -> str:
    """Name an id that occurs as a string in one list and as a number in the other, if any does."""
    unknown = list(unknown)
    if not {str(id_) for id_ in unknown} & set(map(str, listed)):
        return ""
    return (
        f"{shown(min(unknown, key=str))} and other ids are strings in one list and numbers in the"
        " other: write the same"
    )


def normalized(what: str) -> str:
    """Say that coordinates look normalized."""
    return (
        f"all coordinates of {what} lie within 0 and 1: they look normalized by the image size,"
        " COCO's are in pixels"
    )


def shown(value: Any) -> str:
    """Return a short printable form of any value in a file."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def few(ids: Iterable[Any]) -> str:
    """List the first few of many ids."""
    ordered = sorted(ids, key=lambda id_: (isinstance(id_, str), id_))
    text = ", ".join(shown(id_) for id_ in ordered[:5])
    return f"{text}, ..." if len(ordered) > 5 else text
