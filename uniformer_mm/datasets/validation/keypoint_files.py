"""Checks of keypoint annotations and of detected boxes, in the words of their files."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.validation.coco_files import (
    Annotations,
    Report,
    are_finite,
    category_names,
    check_file,
    column,
    floats,
    joined,
    numbers,
    read_coco,
    shown,
)
from uniformer_mm.errors import UserError, printable


@dataclass(frozen=True)
class KeypointUse:
    """What a pose dataset takes from a file, in the words of mmpose's config.

    Attributes:
        joints: Names of the joints in its metainfo.
        fixed_names: Whether joints that the file names have to have these names.
        evaluated: Whether predictions are compared with the file by COCO's measure.
        from_boxes: Whether samples are boxes of a detector, not annotations.
        bottom_up: Whether a sample is an image, not a person.
        sample_interval: Only images whose id is a multiple of it are taken.
        indices: Which of the samples are taken; a number stands for the first ones.
    """

    joints: tuple[str, ...]
    fixed_names: bool = False
    evaluated: bool = False
    from_boxes: bool = False
    bottom_up: bool = False
    sample_interval: int = 1
    indices: int | tuple[int, ...] | None = None


class Persons(Annotations):
    """Annotations as mmpose's CocoDataset uses them.

    Args:
        path: The file.
        use: What the dataset takes from it.
    """

    integer_images = True

    def __init__(self, path: str, use: KeypointUse) -> None:
        needed = ["bbox", "area"] if use.evaluated else []
        super().__init__(path, needed, integers=True)
        self.use = use
        self.facts: list[NDArray[np.float64]] = []

    def add(self, annotations: Sequence[dict[str, Any]]) -> None:
        """Take a few annotations."""
        super().add(annotations)
        length = 3 * len(self.use.joints)
        given = [entry for entry in annotations if self.use.evaluated or "keypoints" in entry]
        points = numbers(column(given, "keypoints"), length)
        if points is None:
            self.find_fault(given, self._keypoints_fault)
            points = floats(column(given, "keypoints"), length)
        has_points = [self.use.evaluated or "keypoints" in entry for entry in annotations]
        # By row: bbox, keypoints, num_keypoints 0, labelled, largest of x and y, a joint lies off 0
        facts = np.zeros((len(annotations), 6))
        facts[:, 0] = ["bbox" in entry for entry in annotations]
        facts[:, 1] = has_points
        facts[:, 2] = [entry.get("num_keypoints", -1) == 0 for entry in annotations]
        places = points.reshape(len(given), len(self.use.joints), 3)
        if places.size:
            rows = np.flatnonzero(has_points)
            facts[rows, 3] = (places[..., 2] > 0).any(1)
            facts[rows, 4] = places[..., :2].max((1, 2))
            facts[rows, 5] = (places[..., :2].max(2) != 0).any(1)
        uncounted = np.array(["num_keypoints" not in entry for entry in annotations], bool)
        facts[:, 2] += uncounted & (facts[:, 5] == 0)
        self.facts.append(facts)

    def report(self, categories: Sequence[dict[str, Any]]) -> Report:
        """What mmpose uses.

        Raises:
            UserError: There is nothing that it uses.
        """
        use = self.use
        category_names(self.path, categories)
        if use.fixed_names:
            self._check_names(categories)
        has_box, has_points, count_is_0, self.labelled, largest, _ = joined(self.facts, 6).T
        self.largest = largest
        width, height = self.sizes.T
        x, y, w, h = self.boxes.T
        corners = [np.clip(x, 0, width - 1), np.clip(x + w, 0, width - 1)]
        corners += [np.clip(y, 0, height - 1), np.clip(y + h, 0, height - 1)]
        left, right, top, bottom = np.array(corners, np.float32)
        image_ids = np.array(self.images.ids.values)[self.image_rows]
        self.uncounted = (count_is_0 > 0) & (self.labelled > 0)
        reasons = [
            (~self.known, "with an image_id of no image"),
            (image_ids % use.sample_interval != 0, "in images that sample_interval leaves out"),
            ((has_box == 0) | (has_points == 0), "without bbox or keypoints"),
        ]
        if not use.bottom_up:
            reasons += [
                (self.crowds, "marked as 'iscrowd'"),
                (count_is_0 > 0, "with num_keypoints 0"),
                (~((right - left > 0) & (bottom - top > 0)), "with a box outside the image"),
                (largest <= 0, "without a joint in the image"),
            ]
        if use.from_boxes:
            line = f"{self.path}: samples are boxes of a detector, {len(self)} annotations"
            return Report(line, used=len(self))
        if use.indices is not None and not use.bottom_up:
            reasons.append(self._beyond_indices(reasons))
        return self.summed_up(reasons, None, must_have=True)

    def hints(self) -> list[str]:
        """Also of joints."""
        hints = super().hints()
        if self.uncounted.any():
            hints.append(
                f"{int(self.uncounted.sum())} annotations have num_keypoints 0, but joints that are"
                " labelled: mmpose leaves them out. Write the number of labelled joints"
            )
        labelled = self.largest[self.labelled > 0]
        if len(labelled) and labelled.max() <= 1:
            hints.append(
                "coordinates of joints lie within 0 and 1: they look like shares of the image,"
                " COCO's are in pixels"
            )
        return hints

    def _beyond_indices(self, reasons: Sequence[tuple[Any, str]]) -> tuple[Any, str]:
        """What `indices` leaves out of those that are left, in the order of the images."""
        left = ~np.any([mask for mask, _ in reasons], axis=0)
        rows = np.flatnonzero(left)
        rows = rows[np.argsort(self.image_rows[rows], kind="stable")]
        indices = self.use.indices
        if isinstance(indices, int):
            rows = rows[:indices] if indices >= 0 else rows[indices:]
        else:
            rows = rows[list(indices or ())]
        beyond = np.ones(len(self), bool)
        beyond[rows] = False
        return beyond, "which dataset.indices leaves out"

    def _keypoints_fault(self, annotation: dict[str, Any]) -> str:
        """What is wrong with a person's joints, as the rest of a sentence; empty if nothing."""
        points: Any = annotation.get("keypoints")
        joints = len(self.use.joints)
        if not are_finite(points):
            return (
                f"has the keypoints {shown(points)}: it needs x, y and visibility of each joint,"
                f" {3 * joints} numbers"
            )
        if len(points) != 3 * joints:
            return (
                f"has {len(points)} numbers for its keypoints; it needs x, y and visibility of"
                f" {joints} joints, {3 * joints} numbers. Others than the {joints} of the"
                " dataset's metainfo need metainfo of their own, and as many out_channels of the"
                " head"
            )
        return ""

    def _check_names(self, categories: Sequence[dict[str, Any]]) -> None:
        """Compare the joints that categories with persons name with those of the metainfo.

        Raises:
            UserError: There are several such categories, or they have other joints.
        """
        has_joints = joined(self.facts, 6)[:, 1] > 0
        in_use = {self.category_ids[row] for row in np.flatnonzero(has_joints)}
        used = [category for category in categories if category["id"] in in_use]
        if len(used) > 1:
            raise UserError(
                f"{self.path} has joints of the categories"
                f" {printable(', '.join(category['name'] for category in used))}: persons have to"
                " be the only one"
            )
        expected = list(self.use.joints)
        for category in used or categories[:1]:
            names = category.get("keypoints", expected)
            if not isinstance(names, list):
                raise UserError(
                    f"{self.path}: its category has the keypoints {shown(names)}: it needs a list"
                    " of names, or none for COCO's"
                )
            if names and [str(name).lower().replace(" ", "_") for name in names] != expected:
                raise UserError(
                    f"{self.path} has the {len(names)} keypoints"
                    f" {printable(', '.join(map(str, names)))}: these configs are for COCO's"
                    f" {len(expected)}, {', '.join(expected)}. Others need a dataset with metainfo"
                    " of their own, and head.out_channels"
                )


def check_keypoints(path: str, use: KeypointUse) -> Report:
    """Check a file of persons for a pose dataset.

    Returns:
        What mmpose takes from it.

    Raises:
        UserError: Something in the file would not be understood, or be misunderstood, or there is
            no person left.
    """
    return check_file(path, Persons(path, use))


def check_boxes(boxes_file: str, annotation_file: str) -> None:
    """Check the file of a detector's boxes against the images that they are for.

    Raises:
        UserError: It is not a list of boxes of people, or has some for other images.
    """
    images = {
        image.get("id")
        for name, entries in read_coco(annotation_file)
        if name == "images"
        for image in entries
    }
    try:
        boxes = json.loads(Path(boxes_file).read_text())
        people = {_image_of(box) for box in boxes if box["category_id"] == 1}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{boxes_file} cannot be read as detected boxes ({type(error).__name__}: {error}): it"
            ' needs a list of {"image_id", "category_id", "bbox": [x, y, width, height], "score"}'
        ) from error
    strangers = sorted(people - images, key=str)
    if strangers:
        raise UserError(
            f"{boxes_file} has boxes for image {shown(strangers[0])}, which is not in"
            f" {annotation_file}: give the boxes for these images, or set bbox_file=None for"
            " annotated boxes"
        )
    if not people:
        raise UserError(
            f"{boxes_file} has no box of category 1 (person): without people there is nothing to"
            " test"
        )


def _image_of(box: dict[str, Any]) -> int:
    """The image of a box that has a size and a score."""
    left, top, width, height = map(float, box["bbox"][:4])
    if not (math.isfinite(left + top + width + height) and min(width, height) > 0):
        raise ValueError(f"bbox {shown(box['bbox'])} of image {shown(box['image_id'])}")
    float(box["score"])
    return box["image_id"]
