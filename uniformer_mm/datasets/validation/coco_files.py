"""Checks of annotation files in COCO's format, in the words of the files.

What codebases leave out is counted, by reason, as they do it. What makes them fail without a name,
or count wrongly without a word, is refused. The files may have millions of annotations: they are
read in pieces, columns are checked as a whole, and single annotations are only looked at where
something is wrong.
"""

import json
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from numbers import Real
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.validation.json_stream import stream_json
from uniformer_mm.errors import UserError

LISTS = ("images", "annotations", "categories")

TAIL = 1 << 23
"""Bytes at the end of a long file in which its categories are looked for first."""

TOLERANCE = 2.0
"""Pixels that a box may reach beyond its image: rounding, and pixels counted from 1."""

MANY = 0.1
"""Share of boxes beyond their image that is worth a warning."""

Mask = NDArray[np.bool_]


@dataclass
class Report:
    """What a dataset takes from a file.

    Attributes:
        line: How many annotations are used, and why others are not.
        warnings: What is likely to be wrong with the file.
        used: Number of annotations.
        images: Number of images, or None where samples are no images.
    """

    line: str
    warnings: list[str] = field(default_factory=list)
    used: int = 0
    images: int | None = None


def read_categories(path: str) -> list[dict[str, Any]]:
    """The categories of an annotation file, without the rest of a long one if that is possible.

    Raises:
        UserError: There is no such file, or it does not have the lists of COCO's format.
    """
    is_long = Path(path).is_file() and Path(path).stat().st_size > TAIL
    categories = _last_categories(path) if is_long else None
    if categories is None:
        found = set()
        for name, value in read_coco(path):
            found.add(name)
            if name == "categories":
                categories = value
                if is_long:
                    break
        if not is_long:
            require_lists(path, found)
    assert categories is not None
    return categories


def _last_categories(path: str) -> Any:
    """The categories if they are in the last entries of the file; None if they are not."""
    with open(path, "rb") as file:
        file.seek(-TAIL, 2)
        tail = file.read()
    start = tail.rfind(b'"categories"')
    try:
        # If this is no entry of the outermost object, what follows does not end with it.
        last = json.loads(b"{" + tail[start:]) if start >= 0 else {}
        return _checked_list("categories", last["categories"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def read_coco(path: str) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    """Yield the lists of an annotation file; images and annotations come in pieces.

    Raises:
        UserError: There is no such file, or it is not in COCO's format.
    """
    try:
        for name, value in stream_json(path, LISTS[:2]):
            if name in LISTS:
                yield name, _checked_list(name, value)
    except FileNotFoundError as error:
        raise UserError(f"no annotation file {path}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise _not_coco(path, f"{type(error).__name__}: {error}") from error


def require_lists(path: str, found: Iterable[str]) -> None:
    """Check that no list is missing.

    Raises:
        UserError: One is.
    """
    for name in LISTS:
        if name not in found:
            raise _not_coco(path, f"no {name!r}")


def _checked_list(name: str, value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not set(map(type, value)) <= {dict}:
        raise TypeError(f"{name!r} is not a list of objects")
    return value


def _not_coco(path: str, fault: str) -> UserError:
    return UserError(
        f"{path} is not in COCO's format ({fault}): it needs the lists"
        f" {', '.join(map(repr, LISTS))} of objects"
    )


def category_names(path: str, categories: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Names of the categories in the order of the file, by which mmdet numbers the classes.

    Raises:
        UserError: There are no categories, or they have no names, or names or ids that repeat.
    """
    if not categories:
        raise UserError(f"{path} lists no categories")
    Ids(path, "category").add(categories)
    for category in categories:
        if not isinstance(category.get("name"), str):
            raise UserError(
                f"{path}: category {shown(category['id'])} has no name, but {shown(category)}"
            )
    names = [category["name"] for category in categories]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{path} has two categories of the name {twice!r}")
    return tuple(names)


class Ids:
    """Ids of images, annotations or categories: all of one kind, each once.

    Args:
        path: The file.
        kind: What they are ids of.
        integers: Whether they have to be integers; otherwise all may be strings.
    """

    def __init__(self, path: str, kind: str, integers: bool = False) -> None:
        self.path = path
        self.kind = kind
        self.values: list[Any] = []
        self.types: set[type] = set()
        self.allowed: list[set[type]] = [{int}] if integers else [{int}, {str}]

    def add(self, entries: Sequence[dict[str, Any]]) -> None:
        """Take the ids of a few entries.

        Raises:
            UserError: An id is absent, of the wrong kind, or there twice.
        """
        ids = column(entries, "id")
        self.types |= set(map(type, ids))
        if not any(self.types <= allowed for allowed in self.allowed):
            wrong = next((entry for entry in entries if type(entry.get("id")) is not int), {})
            raise UserError(f"{self.path}: {self.kind} without a number as id: {shown(wrong)}")
        self.values += ids
        if len(set(ids)) < len(ids):
            self.check_distinct()

    def check_distinct(self) -> None:
        """Look for ids that are there twice.

        Raises:
            UserError: There is one.
        """
        if len(set(self.values)) < len(self.values):
            seen: set[Any] = set()
            twice = next(i for i in self.values if i in seen or seen.add(i))  # type: ignore
            raise UserError(
                f"{self.path} has two of the id {twice!r}: {self.kind} ids have to differ"
            )


class Images:
    """Ids and sizes of the images of a file.

    Args:
        path: The file.
        integers: Whether their ids have to be integers.
    """

    def __init__(self, path: str, integers: bool = False) -> None:
        self.path = path
        self.ids = Ids(path, "image", integers)
        self.parts: list[NDArray[np.float64]] = []

    def add(self, images: Sequence[dict[str, Any]]) -> None:
        """Take a few images.

        Raises:
            UserError: Something is wrong with one of them.
        """
        self.ids.add(images)
        sizes = numbers([[image.get("width"), image.get("height")] for image in images], 2)
        names = column(images, "file_name")
        named = set(map(type, names)) <= {str} and all(names)
        if sizes is None or (sizes <= 0).any() or not named:
            for image in images:
                if fault := _image_fault(image):
                    raise UserError(f"{self.path}: image {shown(image['id'])} {fault}")
            sizes = np.array([[image["width"], image["height"]] for image in images], float)
        self.parts.append(sizes)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.ids.values)

    def finish(self) -> None:
        """Join what has been read.

        Raises:
            UserError: Two images have the same id.
        """
        self.ids.check_distinct()
        self.sizes = joined(self.parts, 2)
        self.index = {id_: index for index, id_ in enumerate(self.ids.values)}

    def rows(self, ids: Iterable[Any]) -> NDArray[np.int64]:
        """Index of the image of each id; -1 where there is no such image."""
        return np.array([self.index.get(id_, -1) for id_ in ids], np.int64)


class Annotations:
    """Annotations of a file, as far as all codebases look at them.

    Subclasses say in `report` what is used.

    Args:
        path: The file.
        needed: Which of bbox, area and iscrowd every annotation needs.
        integers: Whether their ids have to be integers.
    """

    integer_images = False
    """Whether ids of images have to be integers."""

    def __init__(self, path: str, needed: Sequence[str] = (), integers: bool = False) -> None:
        self.path = path
        self.needed = needed
        self.ids = Ids(path, "annotation", integers)
        self.image_ids: list[Any] = []
        self.category_ids: list[Any] = []
        self.parts: list[NDArray[np.float64]] = []
        self.crowd_parts: list[NDArray[np.float64]] = []

    def __len__(self) -> int:
        """Number of annotations."""
        return len(self.ids.values)

    def add(self, annotations: Sequence[dict[str, Any]]) -> None:
        """Take a few annotations.

        Raises:
            UserError: Something is wrong with one of them.
        """
        self.ids.add(annotations)
        images, categories = column(annotations, "image_id"), column(annotations, "category_id")
        boxes = numbers(column(annotations, "bbox", self._default("bbox", [0, 0, 0, 0])), 4)
        crowds = column(annotations, "iscrowd", self._default("iscrowd", 0))
        areas = numbers(column(annotations, "area", self._default("area", 0)))
        if (
            boxes is None
            or areas is None
            or not set(map(type, images)) <= {int, str}
            or not set(map(type, categories)) <= {int, str}
            or not set(map(type, crowds)) <= {int}
            or not set(crowds) <= {0, 1}
        ):
            self.find_fault(annotations, self._fault)
            boxes = floats(column(annotations, "bbox", [0, 0, 0, 0]), 4)
            areas = np.array(column(annotations, "area", 0), float)
        self.image_ids += images
        self.category_ids += categories
        self.parts.append(np.column_stack([boxes, areas]))
        self.crowd_parts.append(np.array(crowds, bool))

    def find_fault(self, annotations: Sequence[dict[str, Any]], fault_of: Any) -> None:
        """Look at annotations one by one.

        Raises:
            UserError: Something is wrong with one of them.
        """
        for annotation in annotations:
            if fault := fault_of(annotation):
                raise UserError(f"{self.path}: annotation {shown(annotation['id'])} {fault}")

    def finish(self, images: Images, categories: Sequence[dict[str, Any]]) -> Report:
        """Count what is used.

        Raises:
            UserError: What the file has cannot be used.
        """
        self.ids.check_distinct()
        self.images = images
        self.image_rows = images.rows(self.image_ids)
        self.known = self.image_rows >= 0
        columns = joined(self.parts, 5)
        self.boxes, self.areas = columns[:, :4], columns[:, 4]
        self.crowds = joined(self.crowd_parts).astype(bool)
        # Where there is no image nothing is compared with its size.
        self.sizes = np.full((len(self), 2), np.inf)
        self.sizes[self.known] = images.sizes[self.image_rows[self.known]]
        return self.report(categories)

    def report(self, categories: Sequence[dict[str, Any]]) -> Report:
        """What is used; the columns are complete."""
        raise NotImplementedError

    def summed_up(
        self, reasons: Sequence[tuple[Mask, str]], images: int | None, must_have: bool
    ) -> Report:
        """Count annotations by the first reason for which they are left out.

        Args:
            reasons: Which annotations, and what is said of them.
            images: Number of images that the dataset has, None if it is not one of images.
            must_have: Whether it is an error if nothing is left.

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
        if not used and must_have:
            hint = "".join(f". {text[0].upper()}{text[1:]}" for text in hints)
            raise UserError(
                f"{self.path}: none of its {len(self)} annotations can be used{because}{hint}"
            )
        place = "" if images is None else f" in {images} of {len(self.images)} images"
        line = f"{self.path}: {used} of {len(self)} annotations are used{place}"
        line += f"; left out{because}" if parts else ""
        return Report(line, [f"{self.path}: {hint}" for hint in hints], used, images)

    def hints(self) -> list[str]:
        """What is likely to be wrong, from what is known of ids and boxes."""
        hints = []
        strangers = {self.image_ids[row] for row in np.flatnonzero(~self.known)}
        if {str(id_) for id_ in strangers} & set(map(str, self.images.index)):
            hints.append(
                f"image_id {shown(min(strangers, key=str))} and other ids are strings in one"
                " list and numbers in the other: write the same in annotations and images"
            )
        boxes, width, height = self.boxes, self.sizes[:, 0], self.sizes[:, 1]
        if boxes.any() and (boxes >= 0).all() and (boxes <= 1).all():
            hints.append(
                "all coordinates of boxes lie within 0 and 1: they look like shares of the image,"
                " COCO's are in pixels"
            )
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
            hints.append(f"{count} of {known} boxes reach beyond their image: {likely}")
        return hints

    def _default(self, name: str, value: Any) -> Any:
        return None if name in self.needed else value

    def _fault(self, annotation: dict[str, Any]) -> str:
        """What is wrong with an annotation, as the rest of a sentence; empty if nothing."""
        for name in ("image_id", "category_id"):
            if not isinstance(annotation.get(name), int | str):
                return f"has no {name}, but {shown(annotation.get(name))}"
        box: Any = annotation.get("bbox", self._default("bbox", [0, 0, 0, 0]))
        if not are_finite(box) or len(box) != 4:
            return f"has the bbox {shown(box)}: it needs four finite numbers x, y, width, height"
        area = annotation.get("area", self._default("area", 0))
        if not are_finite([area]):
            return f"has the area {shown(area)}: it needs a finite number"
        crowd = annotation.get("iscrowd", self._default("iscrowd", 0))
        if crowd not in (0, 1):
            return f"has the iscrowd {shown(crowd)}: it needs 0 or 1"
        return ""


def check_file(path: str, annotations: Annotations) -> Report:
    """Check a file for a dataset.

    Args:
        path: The file.
        annotations: Takes its annotations.

    Returns:
        What the dataset takes from it.

    Raises:
        UserError: Something in the file would not be understood, or be misunderstood, or there is
            nothing to train on.
    """
    images = Images(path, annotations.integer_images)
    found: dict[str, list[dict[str, Any]]] = {}
    for name, value in read_coco(path):
        found[name] = value
        if name == "images":
            images.add(value)
        elif name == "annotations":
            annotations.add(value)
    require_lists(path, found)
    if not len(images):
        raise UserError(f"{path} has no images")
    images.finish()
    return annotations.finish(images, found["categories"])


def _image_fault(image: dict[str, Any]) -> str:
    """What is wrong with an image, as the rest of a sentence about it; empty if nothing."""
    if not isinstance(image.get("file_name"), str) or not image["file_name"]:
        return f"has no file_name, but {shown(image.get('file_name'))}"
    for side in ("width", "height"):
        if not are_finite([image.get(side)]) or image[side] <= 0:
            return f"has the {side} {shown(image.get(side))}: it needs a number of pixels"
    return ""


def column(entries: Sequence[dict[str, Any]], name: str, default: Any = None) -> list[Any]:
    """One value of each entry."""
    with suppress(KeyError):
        return list(map(itemgetter(name), entries))
    return [entry.get(name, default) for entry in entries]


def numbers(values: Sequence[Any], count: int | None = None) -> NDArray[np.float64] | None:
    """Finite numbers as (N,), or lists of `count` as (N, count); None if they are others."""
    flat = values
    if count is not None:
        if not set(map(type, values)) <= {list} or not set(map(len, values)) <= {count}:
            return None
        flat = list(chain.from_iterable(values))
    if not set(map(type, flat)) <= {int, float}:
        return None
    try:
        array = np.array(flat, float)
    except OverflowError:
        return None
    if not np.isfinite(array).all():
        return None
    return array if count is None else array.reshape(-1, count)


def floats(values: Sequence[Any], count: int) -> NDArray[np.float64]:
    """Lists of numbers, which have been looked at one by one, as (N, count)."""
    return np.array(values, float).reshape(-1, count)


def joined(parts: Sequence[NDArray[Any]], count: int | None = None) -> NDArray[np.float64]:
    """Rows of several arrays; of `count` numbers if there are none."""
    empty = np.zeros((0,) if count is None else (0, count))
    return np.concatenate([empty, *parts])


def are_finite(values: Any) -> bool:
    """Whether something is a list of finite numbers."""
    try:
        return isinstance(values, list) and all(
            isinstance(value, Real) and math.isfinite(value) for value in values
        )
    except OverflowError:  # an integer of more than 308 digits
        return False


def shown(value: Any) -> str:
    """Anything in a file, in a few printable characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def few(ids: Iterable[Any]) -> str:
    """A few of many ids, as text."""
    ordered = sorted(ids, key=lambda id_: (isinstance(id_, str), id_))
    text = ", ".join(shown(id_) for id_ in ordered[:5])
    return f"{text}, ..." if len(ordered) > 5 else text
