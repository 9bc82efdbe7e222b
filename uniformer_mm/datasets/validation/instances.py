"""Check instance annotations in COCO format, as mmdet reads them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uniformer_mm.datasets.validation.coco_format import (
    Annotations,
    Entry,
    Mask,
    Report,
    category_names,
    check_file,
    column,
    few,
    normalized,
    parse_numbers,
    same_but_for_type,
    shown,
    taken,
)
from uniformer_mm.errors import UserError, printable

MASKS = (
    "expected polygons [[x1, y1, x2, y2, x3, y3, ...], ...] or a run-length encoding; for boxes"
    " without masks take configs/det/faster_rcnn_uniformer_s.py"
)


@dataclass(frozen=True)
class Use:
    """What a detection dataset reads of a file; names as in mmdet's configs where they exist.

    Attributes:
        classes: Its classes; None if they are not known.
        masks: Whether masks are loaded.
        polygons_only: Whether they have to be polygons (poly2mask=False).
        evaluated: Whether predictions are compared with the file; otherwise it is trained on.
        min_size: Shortest side of an image in pixels; smaller images are left out.
        filter_empty_gt: Whether images without annotations of the classes are left out.
        indices: Which of the images are taken; an integer stands for the first ones.
    """

    classes: tuple[str, ...] | None = None
    masks: bool = False
    polygons_only: bool = False
    evaluated: bool = False
    min_size: float = 0
    filter_empty_gt: bool = False
    indices: int | tuple[int, ...] | None = None


class Instances(Annotations):
    """Annotations as mmdet's CocoDataset and LoadAnnotations read them.

    Args:
        path: The file.
        use: What the dataset reads of it.
    """

    def __init__(self, path: str, use: Use) -> None:
        required = ["bbox", "area", *(["iscrowd"] if use.evaluated else [])]
        super().__init__(path, required, integers=use.evaluated)
        self.use = use
        self.ignored: list[int] = []
        self.mask_faults: dict[int, str] = {}
        self.without_polygon: list[int] = []
        self.encoded: dict[int, Any] = {}
        self.short_polygons, self.mask_sum, self.mask_numbers = 0, 0.0, 0

    def add(self, annotations: Sequence[Entry]) -> None:
        """Add a batch of annotations."""
        first = len(self)
        super().add(annotations)
        ignored = column(annotations, "ignore")
        self.ignored += [row for row, flag in enumerate(ignored, first) if flag]
        if self.use.masks:
            for row, mask in enumerate(column(annotations, "segmentation"), first):
                if fault := self._add_mask(row, mask):
                    self.mask_faults[row] = fault

    def _add_mask(self, row: int, mask: Any) -> str:
        """Add a mask; return what is wrong with it, if anything."""
        if mask and isinstance(mask, dict):
            self.encoded[row] = mask.get("size")
            return _encoding_fault(mask)
        if not mask or not isinstance(mask, list):
            return f"has the segmentation {shown(mask)}, {MASKS}"
        total, count, short = 0.0, 0, 0
        try:
            for polygon in mask:
                length = len(polygon)
                total += sum(polygon)
                count += length
                short += length < 6 or length % 2
            is_finite = math.isfinite(total)
        except (TypeError, OverflowError):
            is_finite = False
        if not is_finite:  # only now, as it takes longer
            for polygon in mask:
                if not isinstance(polygon, list) or parse_numbers(polygon) is None:
                    return f"has the segmentation {shown(polygon)}, {MASKS}"
        if short == len(mask):
            self.without_polygon.append(row)
        else:
            self.short_polygons += short
        self.mask_sum += total
        self.mask_numbers += count
        return ""

    def report(self, categories: Sequence[Entry]) -> Report:
        """Return what mmdet uses.

        Raises:
            UserError: Nothing is left, or mmdet would fail or train on wrong classes.
        """
        use = self.use
        names = category_names(self.path, categories)
        self._check_classes(names)
        self.listed = {category["id"] for category in categories}
        self.unknown = set(self.category_ids) - self.listed
        self._check_numbering()
        chosen = {c["id"] for c in categories if use.classes is None or c["name"] in use.classes}
        in_classes = np.fromiter((i in chosen for i in self.category_ids), bool, len(self))
        is_unknown = np.fromiter((i in self.unknown for i in self.category_ids), bool, len(self))
        x, y, w, h = self.boxes.T
        width, height = self.sizes.T
        with np.errstate(all="ignore"):
            inside = np.maximum(0, np.minimum(x + w, width) - np.maximum(x, 0))
            inside *= np.maximum(0, np.minimum(y + h, height) - np.maximum(y, 0))
        reasons = [
            (~self.known, "with an image_id of no image"),
            (self._mask_of(self.ignored), "marked as 'ignore'"),
            ((w <= 0) | (h <= 0), "with a box without width or height"),
            (inside == 0, "with a box outside the image"),
            ((w < 1) | (h < 1), "with a box narrower than a pixel"),
            (self.areas <= 0, "with the area 0"),
            (is_unknown, f"with a category_id of no category ({few(self.unknown)})"),
            (~in_classes, "of categories that are not among the classes"),
        ]
        kept = ~np.logical_or.reduce([mask for mask, _ in reasons])
        self._check_masks(self.known & in_classes if use.evaluated else kept)
        images, of_images = self._images_taken(in_classes)
        reasons += of_images
        reasons += [
            (self.crowds, "marked as 'iscrowd'"),
            (self._mask_of(self.without_polygon), "with a mask without a polygon of three points"),
        ]
        if use.polygons_only:
            encoded = self._mask_of(self.encoded)
            reasons.append((encoded, "with a run-length mask, which poly2mask=False leaves out"))
        report = self.summarize(reasons, images, required=not use.evaluated)
        if self.short_polygons:
            report.line += (
                f"; {self.short_polygons} polygons of less than three points are left out"
            )
        order = [name for name in names if name in (use.classes or names)]
        if use.classes and order != list(use.classes):
            report.warnings.append(
                f"{self.path}: its categories are in another order than the classes of the dataset:"
                f" mmdet numbers them as the file does, and would call {order[0]!r}"
                f" {use.classes[0]!r}. List the classes in the order of the file"
            )
        if not report.used:
            report.warnings.append(f"{self.path}: nothing is left to evaluate")
        return report

    def hints(self) -> list[str]:
        """Return likely mistakes in category ids and masks, too."""
        hints = super().hints()
        if mixed := same_but_for_type(self.unknown, self.listed):
            hints.append(f"category_id {mixed} in annotations and categories")
        elif self.unknown:
            hints.append(
                f"category_id {few(self.unknown)} is the id of no category: those are"
                f" {few(self.listed)}"
            )
        if self.mask_numbers and 0 < self.mask_sum <= self.mask_numbers:
            hints.append(normalized("masks"))
        return hints

    def _check_classes(self, names: Sequence[str]) -> None:
        unknown = [name for name in self.use.classes or () if name not in names]
        if unknown:
            known = printable(", ".join(names[:9])) + (", ..." if len(names) > 9 else "")
            raise UserError(
                f"{self.path} has no category {unknown[0]!r}: its categories are {known}. Set"
                " metainfo=dict(classes=...) of the datasets and num_classes of the heads, or give"
                " the data with --coco"
            )

    def _check_numbering(self) -> None:
        """Refuse annotations that count categories from 0 where the list counts from 1."""
        ids, count = set(self.category_ids), len(self.listed)
        if self.listed == set(range(1, count + 1)) and 0 in ids <= set(range(count)):
            raise UserError(
                f"{self.path}: annotations have the category_id {few(ids)}, categories the ids"
                f" {few(self.listed)}: annotations count them from 0, categories from 1, and all"
                " would be assigned to another class. Number both alike"
            )

    def _images_taken(self, in_classes: Mask) -> tuple[int, list[tuple[Mask, str]]]:
        """Return the number of images that are taken, and the annotations of the others."""
        use, count = self.use, len(self.images)
        is_large = self.images.sizes.min(1) >= use.min_size
        is_taken = is_large.copy()
        if use.filter_empty_gt:
            annotated = np.zeros(count, bool)
            annotated[self.image_rows[in_classes & self.known]] = True
            is_taken &= annotated
        rows = taken(np.flatnonzero(is_taken), use.indices)
        # The row -1, of annotations without an image, is the last here.
        small, absent = np.append(~is_large, False), np.append(np.ones(count, bool), False)
        absent[rows] = False
        return len(rows), [
            (small[self.image_rows], f"in images below {use.min_size:g} pixels (min_size)"),
            (absent[self.image_rows], "in images that dataset.indices leaves out"),
        ]

    def _check_masks(self, is_read: Mask) -> None:
        """Refuse masks that would crash the code which reads them."""
        for row, size in self.encoded.items():
            if self.known[row] and size != (expected := self.sizes[row, ::-1].tolist()):
                self.mask_faults.setdefault(
                    row,
                    f"has a mask of size {shown(size)}, but its image has the size"
                    f" {[int(side) for side in expected]}",
                )
        for row in sorted(self.mask_faults):
            if is_read[row]:
                raise UserError(
                    f"{self.path}: annotation {shown(self.ids[row])} {self.mask_faults[row]}"
                )

    def _mask_of(self, rows: Sequence[int] | dict[int, Any]) -> Mask:
        mask = np.zeros(len(self), bool)
        mask[list(rows)] = True
        return mask


def check_annotations(path: str, use: Use) -> Report:
    """Check a file of instances for a detection dataset; see `check_file`."""
    return check_file(path, Instances(path, use))


def _encoding_fault(mask: Entry) -> str:
    """Return what is wrong with a run-length encoding, if anything."""
    size, counts = mask.get("size"), mask.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int for side in size):
        return f"has a mask of size {shown(size)}, expected height and width in pixels"
    if isinstance(counts, list):
        fits = parse_numbers(counts) is not None and sum(counts) == size[0] * size[1]
    else:
        fits = isinstance(counts, str) and _can_decode(counts, size)
    return "" if fits else f"has a mask with the counts {shown(counts)}, which do not fit its size"


def _can_decode(counts: str, size: list[int]) -> bool:
    from pycocotools import mask

    try:
        mask.decode({"size": size, "counts": counts.encode()})
    except (ValueError, OverflowError):
        return False
    return True
