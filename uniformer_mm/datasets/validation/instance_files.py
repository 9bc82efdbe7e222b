"""Checks of instance annotations in COCO's format, as mmdet uses them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from uniformer_mm.datasets.validation.coco_files import (
    Annotations,
    Mask,
    Report,
    are_finite,
    category_names,
    check_file,
    column,
    few,
    shown,
)
from uniformer_mm.errors import UserError, printable

BOXES_ONLY = "for boxes without masks take configs/det/faster_rcnn_uniformer_s.py"


@dataclass(frozen=True)
class Use:
    """What a detection dataset takes from a file, in the words of mmdet's config.

    Attributes:
        classes: Its classes; None if they are not known.
        masks: Whether masks are loaded.
        polygons_only: Whether they have to be polygons (poly2mask=False).
        evaluated: Whether predictions are compared with the file; otherwise it is trained on.
        min_size: Of images, in pixels; those with a shorter side are left out.
        filter_empty_gt: Whether images without annotations of the classes are.
        indices: Which of the images are taken; a number stands for the first ones.
    """

    classes: tuple[str, ...] | None = None
    masks: bool = False
    polygons_only: bool = False
    evaluated: bool = False
    min_size: float = 0
    filter_empty_gt: bool = False
    indices: int | tuple[int, ...] | None = None


class Instances(Annotations):
    """Annotations as mmdet's CocoDataset and LoadAnnotations use them.

    Args:
        path: The file.
        use: What the dataset takes from it.
    """

    def __init__(self, path: str, use: Use) -> None:
        needed = ["bbox", "area", *(["iscrowd"] if use.evaluated else [])]
        super().__init__(path, needed, integers=use.evaluated)
        self.use = use
        self.ignored: list[int] = []
        self.short = 0
        self.mask_faults: dict[int, str] = {}
        self.without_polygon: list[int] = []
        self.encoded: list[tuple[int, Any]] = []
        self.mask_sum, self.mask_numbers = 0.0, 0

    def add(self, annotations: Sequence[dict[str, Any]]) -> None:
        """Take a few annotations."""
        first = len(self)
        super().add(annotations)
        self.ignored += [
            first + row for row, annotation in enumerate(annotations) if annotation.get("ignore")
        ]
        if self.use.masks:
            masks = column(annotations, "segmentation")
            polygons = [mask for mask in masks if type(mask) is list]
            all_sound = self._are_sound(polygons)
            for row, mask in enumerate(masks, first):
                if not (all_sound and type(mask) is list):
                    self._look_at_mask(row, mask)

    def _are_sound(self, masks: Sequence[list[Any]]) -> bool:
        """Whether masks consist of polygons of three points or more; their numbers are added up."""
        polygons = list(chain.from_iterable(masks))
        if not all(masks) or not set(map(type, polygons)) <= {list}:
            return False
        lengths = np.fromiter(map(len, polygons), int, len(polygons))
        try:
            total = sum(map(sum, polygons))
        except (TypeError, OverflowError):
            return False
        if not are_finite([total]) or (lengths < 6).any() or (lengths % 2).any():
            return False
        self.mask_sum += total
        self.mask_numbers += int(lengths.sum())
        return True

    def _look_at_mask(self, row: int, mask: Any) -> None:
        needs = "it needs polygons [[x1, y1, x2, y2, x3, y3, ...], ...] or a run-length encoding"
        if not mask or not isinstance(mask, list | dict):
            needs = f"{needs}; {BOXES_ONLY}"
            self.mask_faults[row] = f"has the segmentation {shown(mask)}: {needs}"
        elif isinstance(mask, dict):
            self.encoded.append((row, mask.get("size")))
            if fault := _encoding_fault(mask):
                self.mask_faults[row] = fault
        elif wrong := [polygon for polygon in mask if not are_finite(polygon)]:
            self.mask_faults[row] = f"has the segmentation {shown(wrong[0])}: {needs}"
        else:
            short = sum(len(polygon) < 6 or len(polygon) % 2 for polygon in mask)
            if short == len(mask):
                self.without_polygon.append(row)
            else:
                self.short += short

    def report(self, categories: Sequence[dict[str, Any]]) -> Report:
        """What mmdet uses.

        Raises:
            UserError: There is nothing that it uses, or something makes it fail.
        """
        use = self.use
        names = category_names(self.path, categories)
        _check_classes(self.path, use.classes, names)
        x, y, w, h = self.boxes.T
        width, height = self.sizes.T
        with np.errstate(all="ignore"):
            inside = np.maximum(0, np.minimum(x + w, width) - np.maximum(x, 0))
            inside *= np.maximum(0, np.minimum(y + h, height) - np.maximum(y, 0))
        listed = {category["id"] for category in categories}
        of_classes = {
            category["id"]
            for category in categories
            if use.classes is None or category["name"] in use.classes
        }
        self.strangers = set(self.category_ids) - listed
        self.listed = listed
        if self._are_shifted():
            raise UserError(
                f"{self.path}: annotations have the category_id {few(set(self.category_ids))},"
                f" categories the ids {few(listed)}: annotations count them from 0, categories"
                " from 1, and all would be taken for another class. Number both alike"
            )
        in_classes = np.fromiter((i in of_classes for i in self.category_ids), bool, len(self))
        outside = [
            (~self.known, "with an image_id of no image"),
            (self._rows(self.ignored), "marked as 'ignore'"),
            ((w <= 0) | (h <= 0), "with a box without width or height"),
            (inside == 0, "with a box outside the image"),
            ((w < 1) | (h < 1), "with a box narrower than a pixel"),
            (self.areas <= 0, "with the area 0"),
            (
                np.array([id_ not in listed for id_ in self.category_ids], bool),
                f"with a category_id of no category ({few(self.strangers)})",
            ),
            (~in_classes, "of categories that are not among the classes"),
        ]
        kept = ~np.any([mask for mask, _ in outside], axis=0) if len(self) else np.zeros(0, bool)
        self._check_masks(self.known & in_classes if use.evaluated else kept)
        taken, reasons = self._images_taken(in_classes)
        reasons += [
            (self.crowds, "marked as 'iscrowd'"),
            (self._rows(self.without_polygon), "with a mask without a polygon of three points"),
        ]
        if use.polygons_only:
            encoded = self._rows([row for row, _ in self.encoded])
            reasons.append((encoded, "with a run-length mask, which poly2mask=False leaves out"))
        report = self.summed_up([*outside, *reasons], taken, must_have=not use.evaluated)
        if self.short:
            report.line += f"; {self.short} polygons of less than three points are left out"
        files_order = [name for name in names if name in (use.classes or names)]
        if use.classes and files_order != list(use.classes):
            report.warnings.append(
                f"{self.path}: its categories are in another order than the classes of the dataset:"
                f" mmdet numbers them as the file does, and would call {files_order[0]!r}"
                f" {use.classes[0]!r}. List the classes in the order of the file"
            )
        if not report.used:
            report.warnings.append(f"{self.path}: nothing is left to evaluate")
        return report

    def hints(self) -> list[str]:
        """Also of category ids and masks."""
        hints = super().hints()
        strangers, listed = self.strangers, self.listed
        if {str(id_) for id_ in strangers} & set(map(str, listed)):
            hints.append(
                f"category_id {shown(min(strangers, key=str))} and other ids are strings in one"
                " list and numbers in the other: write the same in annotations and categories"
            )
        elif strangers:
            hints.append(
                f"category_id {few(strangers)} is the id of no category: those are {few(listed)}"
            )
        if self.mask_numbers and 0 < self.mask_sum <= self.mask_numbers:
            hints.append(
                "coordinates of masks lie within 0 and 1: they look like shares of the image,"
                " COCO's are in pixels"
            )
        return hints

    def _are_shifted(self) -> bool:
        """Whether annotations count categories from 0, and the list counts them from 1."""
        count = len(self.listed)
        ids = set(self.category_ids)
        return self.listed == set(range(1, count + 1)) and 0 in ids <= set(range(count))

    def _images_taken(self, in_classes: Mask) -> tuple[int, list[tuple[Mask, str]]]:
        """Number of images that are taken, and annotations of the others."""
        use = self.use
        count = len(self.images)
        large = self.images.sizes.min(1) >= use.min_size
        taken = large.copy()
        if use.filter_empty_gt:
            has_any = np.zeros(count, bool)
            has_any[self.image_rows[in_classes & self.known]] = True
            taken &= has_any
        order = np.flatnonzero(taken)
        if isinstance(use.indices, int):
            order = order[: use.indices] if use.indices >= 0 else order[use.indices :]
        elif use.indices is not None:
            order = order[[i for i in use.indices if -len(order) <= i < len(order)]]
        chosen = np.zeros(count, bool)
        chosen[order] = True
        # The row -1, of annotations without an image, is the last here.
        small, absent = np.append(~large, False), np.append(~chosen, False)
        return len(order), [
            (small[self.image_rows], f"in images below {use.min_size:g} pixels (min_size)"),
            (absent[self.image_rows], "in images that dataset.indices leaves out"),
        ]

    def _check_masks(self, read: Mask) -> None:
        """Refuse masks that would stop a program which reads them."""
        for row, size in self.encoded:
            if read[row] and self.known[row] and row not in self.mask_faults:
                expected = self.sizes[row, ::-1].tolist()
                if size != expected:
                    self.mask_faults[row] = (
                        f"has a mask of size {shown(size)} on an image of size"
                        f" {[int(side) for side in expected]}"
                    )
        for row in sorted(self.mask_faults):
            if read[row]:
                raise UserError(
                    f"{self.path}: annotation {shown(self.ids.values[row])} {self.mask_faults[row]}"
                )

    def _rows(self, rows: Sequence[int]) -> Mask:
        mask = np.zeros(len(self), bool)
        mask[list(rows)] = True
        return mask


def check_annotations(path: str, use: Use) -> Report:
    """Check a file of instances for a detection dataset.

    Returns:
        What mmdet takes from it.

    Raises:
        UserError: Something in the file would not be understood, or be misunderstood, or there is
            nothing to train on.
    """
    return check_file(path, Instances(path, use))


def _check_classes(path: str, classes: Sequence[str] | None, names: Sequence[str]) -> None:
    strangers = [name for name in classes or () if name not in names]
    if strangers:
        known = printable(", ".join(names[:9])) + (", ..." if len(names) > 9 else "")
        raise UserError(
            f"{path} has no category {strangers[0]!r}: its categories are {known}. Set"
            " metainfo=dict(classes=...) of the datasets and num_classes of the heads, or give the"
            " data with --coco"
        )


def _encoding_fault(mask: dict[str, Any]) -> str:
    """What is wrong with a run-length encoding, as the rest of a sentence; empty if nothing."""
    size: Any = mask.get("size")
    counts = mask.get("counts")
    if not are_finite(size) or len(size) != 2 or not all(type(side) is int for side in size):
        return f"has a mask of size {shown(size)}: it needs height and width in pixels"
    if isinstance(counts, list):
        fits = are_finite(counts) and sum(counts) == size[0] * size[1]
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
