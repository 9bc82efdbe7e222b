"""Check keypoint annotations in COCO format and detected boxes, as mmpose reads them."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.validation.coco_format import (
    Annotations,
    Entry,
    Field,
    Mask,
    Report,
    category_names,
    check_file,
    joined,
    normalized,
    parse_numbers,
    read_coco,
    shown,
    taken,
)
from uniformer_mm.errors import UserError, printable


@dataclass(frozen=True)
class KeypointUse:
    """What a pose dataset reads of a file; names as in mmpose's configs where they exist.

    Attributes:
        joints: Names of the keypoints in its metainfo.
        fixed_names: Whether keypoints that the file names have to have these names.
        evaluated: Whether predictions are compared with the file by COCO's metric.
        from_boxes: Whether samples are detected boxes instead of annotations.
        bottom_up: Whether a sample is an image instead of a person.
        sample_interval: Only images whose id is a multiple of it are taken.
        indices: Which of the samples are taken; an integer stands for the first ones.
    """

    joints: tuple[str, ...]
    fixed_names: bool = False
    evaluated: bool = False
    from_boxes: bool = False
    bottom_up: bool = False
    sample_interval: int = 1
    indices: int | tuple[int, ...] | None = None


class Persons(Annotations):
    """Annotations as mmpose's CocoDataset reads them.

    Args:
        path: The file.
        use: What the dataset reads of it.
    """

    integer_images = True

    def __init__(self, path: str, use: KeypointUse) -> None:
        super().__init__(path, ["bbox", "area"] if use.evaluated else [], integers=True)
        self.use = use
        self.facts: list[NDArray[np.float64]] = []
        count = len(use.joints)
        self.keypoints = Field(
            "keypoints",
            f"x, y and visibility of {count} keypoints, {3 * count} finite numbers. Other than the"
            f" {count} of the dataset's metainfo need metainfo of their own, and as many"
            " out_channels of the head",
            partial(parse_numbers, count=3 * count),
        )

    def add(self, annotations: Sequence[Entry]) -> None:
        """Add a batch of annotations."""
        super().add(annotations)
        has_points = np.array([self.use.evaluated or "keypoints" in a for a in annotations], bool)
        given = [entry for entry, has in zip(annotations, has_points, strict=True) if has]
        points = self.keypoints.read(self.path, "annotation", given).reshape(
            -1, len(self.use.joints), 3
        )
        labelled, largest, is_placed = np.zeros((3, len(annotations)))
        if points.size:
            labelled[has_points] = (points[..., 2] > 0).any(1)
            largest[has_points] = points[..., :2].max((1, 2))
            is_placed[has_points] = (points[..., :2].max(2) != 0).any(1)
        # mmpose counts the keypoints off the origin where the file does not say how many there are.
        counts = [
            entry.get("num_keypoints", n) for entry, n in zip(annotations, is_placed, strict=True)
        ]
        is_uncounted = [count == 0 for count in counts]
        has_box = ["bbox" in entry for entry in annotations]
        self.facts.append(np.column_stack([has_box, has_points, is_uncounted, labelled, largest]))

    def report(self, categories: Sequence[Entry]) -> Report:
        """Return what mmpose uses.

        Raises:
            UserError: Nothing is left, or the keypoints are others than the dataset's.
        """
        use = self.use
        category_names(self.path, categories)
        has_box, has_points, is_uncounted, labelled, self.largest = joined(self.facts, 5).T
        self.is_labelled = labelled > 0
        if use.fixed_names:
            self._check_names(categories, has_points > 0)
        if use.from_boxes:
            line = f"{self.path}: samples are detected boxes, {len(self)} annotations"
            return Report(line, used=len(self))
        width, height = self.sizes.T
        x, y, w, h = self.boxes.T
        corners = [np.clip(x, 0, width - 1), np.clip(x + w, 0, width - 1)]
        corners += [np.clip(y, 0, height - 1), np.clip(y + h, 0, height - 1)]
        left, right, top, bottom = np.array(corners, np.float32)
        image_ids = np.array(self.images.ids)[self.image_rows]
        self.uncounted = (is_uncounted > 0) & self.is_labelled
        reasons: list[tuple[Mask, str]] = [
            (~self.known, "with an image_id of no image"),
            (image_ids % use.sample_interval != 0, "in images that sample_interval leaves out"),
            ((has_box == 0) | (has_points == 0), "without bbox or keypoints"),
        ]
        if not use.bottom_up:
            reasons += [
                (self.crowds, "marked as 'iscrowd'"),
                (is_uncounted > 0, "with num_keypoints 0"),
                (~((right - left > 0) & (bottom - top > 0)), "with a box outside the image"),
                (self.largest <= 0, "without a keypoint in the image"),
            ]
            rows = np.flatnonzero(~np.logical_or.reduce([mask for mask, _ in reasons]))
            rows = rows[np.argsort(self.image_rows[rows], kind="stable")]  # by image
            absent = np.ones(len(self), bool)
            absent[taken(rows, use.indices)] = False
            reasons.append((absent, "which dataset.indices leaves out"))
        return self.summarize(reasons, None, required=True)

    def hints(self) -> list[str]:
        """Return likely mistakes in keypoints, too."""
        hints = super().hints()
        if self.uncounted.any():
            hints.append(
                f"{int(self.uncounted.sum())} annotations have num_keypoints 0, but labelled"
                " keypoints: mmpose leaves them out. Write the number of labelled keypoints"
            )
        largest = self.largest[self.is_labelled]
        if len(largest) and largest.max() <= 1:
            hints.append(normalized("keypoints"))
        return hints

    def _check_names(self, categories: Sequence[Entry], has_points: Mask) -> None:
        """Compare the keypoints that the file names with those of the metainfo.

        Raises:
            UserError: Several categories have keypoints, or they have other names.
        """
        in_use = {self.category_ids[row] for row in np.flatnonzero(has_points)}
        used = [category for category in categories if category["id"] in in_use]
        if len(used) > 1:
            raise UserError(
                f"{self.path} has keypoints of the categories"
                f" {printable(', '.join(category['name'] for category in used))}: persons have to"
                " be the only one"
            )
        expected = list(self.use.joints)
        names = (used or categories)[0].get("keypoints", expected)
        if not isinstance(names, list):
            raise UserError(
                f"{self.path}: its category has the keypoints {shown(names)}, expected a list of"
                " names; leave it out for COCO's"
            )
        if names and [str(name).lower().replace(" ", "_") for name in names] != expected:
            raise UserError(
                f"{self.path} has the {len(names)} keypoints"
                f" {printable(', '.join(map(str, names)))}: these configs are for COCO's"
                f" {len(expected)}, {', '.join(expected)}. Others need a dataset with metainfo"
                " of their own, and head.out_channels: --coco sets both"
            )


def check_keypoints(path: str, use: KeypointUse) -> Report:
    """Check a file of persons for a pose dataset; see `check_file`."""
    return check_file(path, Persons(path, use))


def check_boxes(boxes_file: str, annotation_file: str) -> None:
    """Check a file of detected boxes against the images of an annotation file.

    Raises:
        UserError: It is not a list of boxes, or has no persons, or some in other images.
    """
    images = {
        image.get("id")
        for name, entries in read_coco(annotation_file)
        if name == "images"
        for image in entries
    }
    try:
        boxes = json.loads(Path(boxes_file).read_text())
        found = {_image_of(box) for box in boxes if box["category_id"] == 1}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{boxes_file} cannot be read as detected boxes ({type(error).__name__}: {error}): it"
            ' needs a list of {"image_id", "category_id", "bbox": [x, y, width, height], "score"}'
        ) from error
    if unknown := sorted(found - images, key=str):
        raise UserError(
            f"{boxes_file} has boxes for image {shown(unknown[0])}, which is not in"
            f" {annotation_file}: give the boxes for these images, or set bbox_file=None for"
            " annotated boxes"
        )
    if not found:
        raise UserError(f"{boxes_file} has no box of category 1 (person): there is nothing to test")


def _image_of(box: Entry) -> int:
    """Return the image of a box after checking its size and score."""
    left, top, width, height = map(float, box["bbox"][:4])
    if not (math.isfinite(left + top + width + height) and min(width, height) > 0):
        raise ValueError(f"bbox {shown(box['bbox'])} of image {shown(box['image_id'])}")
    float(box["score"])
    return box["image_id"]
