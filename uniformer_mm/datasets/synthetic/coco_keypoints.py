"""Synthetic pose dataset in the format of COCO keypoints, with the boxes of a detector.

Every image has a few articulated figures in varying poses, sizes and clothes, in front of each
other and truncated by the border, seen from the front or from behind. As in COCO, there are images
without persons, persons without labeled keypoints, and crowd regions (`iscrowd`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.synthetic.coco import (
    PLACEMENT_ATTEMPTS,
    Instance,
    InstanceScene,
    Record,
    SyntheticCoco,
    write_json,
)
from uniformer_mm.datasets.synthetic.drawing import BoolArray, FloatArray, Rng
from uniformer_mm.datasets.synthetic.stick_figures import JOINTS, Figure, covered

DETECTIONS = "person_detection_results/COCO_val2017_detections_AP_H_56_person.json"
"""Person boxes in the validation images; named like the file of the published results."""

SKELETON: tuple[tuple[int, int], ...] = (
    *((16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9)),
    *((8, 10), (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7)),
)
"""Joints that COCO connects, counted from 1."""

NOT_LABELED, HIDDEN, VISIBLE = 0, 1, 2
"""COCO's visibility flags."""

PERSONS_PER_IMAGE = (1, 4)
HEIGHT = (0.36, 0.85)  # of the shorter image side
NOT_LABELED_SHARE = 0.02  # of the keypoints that could be labeled
FAR_AWAY_PERIOD, FAR_AWAY_PHASE = 6, 5


class PersonScene(InstanceScene):
    """An image of persons."""

    max_hidden = 0.25
    light_angles = (-20.0, -160.0)  # from above

    def add_instances(self, index: int, is_empty: bool) -> None:
        """Draw the persons, the smallest first."""
        if index % FAR_AWAY_PERIOD == FAR_AWAY_PHASE:
            self._add_person(self.rng.uniform(0.15, 0.2) * self.shorter_side, is_labeled=False)
        if not is_empty:
            count = self.rng.integers(*PERSONS_PER_IMAGE, endpoint=True)
            for height in sorted(self.random_size(HEIGHT) for _ in range(count)):
                self._add_person(height)

    def add_crowd(self) -> None:
        """Draw rows of tiny figures, annotated as one region."""
        rng = self.rng
        height = self.shorter_side * rng.uniform(0.12, 0.16)
        center = rng.uniform(0.25, 0.75, 2) * self.image.shape[1::-1]
        region = np.zeros(self.image.shape[:2], dtype=bool)
        for row in range(3):
            for column in range(-2, 3):
                offset = np.array((column + rng.uniform(-0.2, 0.2), row - 1)) * (0.5, 0.3) * height
                figure = Figure(height, rng)
                shape, origin = figure.mask()
                position = (center + offset).astype(np.int64)
                region |= self._in_image(shape, position - origin)
                figure.draw(self.image, position, self.light)
        keypoints = np.zeros((len(JOINTS), 3), dtype=np.int64)
        self.put_in_front(Instance(0, region, float(region.sum()), True, keypoints))

    def put_in_front(self, instance: Instance) -> None:
        """Add a person that hides parts and keypoints of the others."""
        for other in self.instances:
            assert other.keypoints is not None
            flags = other.keypoints[:, 2]
            is_covered = covered(instance.visible, other.keypoints[:, :2])
            flags[is_covered & (flags == VISIBLE)] = HIDDEN
        super().put_in_front(instance)

    def _add_person(self, height: float, is_labeled: bool = True) -> None:
        """Draw a person where none is hidden too much; none if there is no such place."""
        figure = Figure(height, self.rng)
        shape, origin = figure.mask()
        full_area = float(shape.sum())
        extent = np.array(shape.shape[::-1])
        overhang = (0.12 * extent).astype(int)
        room = np.array(self.image.shape[1::-1]) - extent + overhang
        for _ in range(PLACEMENT_ATTEMPTS):
            corner = self.rng.integers(-overhang, np.maximum(room, 1 - overhang))
            mask = self._in_image(shape, corner)
            if not self.hides_too_much(mask, full_area):
                position = corner + origin
                visible = figure.draw(self.image, position, self.light)
                keypoints = self._keypoints(figure, figure.joints + position, visible)
                if not is_labeled:
                    keypoints[:] = 0
                self.put_in_front(Instance(0, mask, full_area, keypoints=keypoints))
                return

    def _in_image(self, shape: BoolArray, corner: NDArray[np.int64]) -> BoolArray:
        """A mask (H, W) of a shape (h, w) whose upper left corner is at (x, y)."""
        mask = np.zeros(self.image.shape[:2], dtype=bool)
        (left, top), (height, width) = corner.tolist(), shape.shape
        rows, columns = mask.shape
        above, before = max(-top, 0), max(-left, 0)
        part = shape[above : max(rows - top, 0), before : max(columns - left, 0)]
        mask[top + above : top + height, left + before : left + width] = part
        return mask

    def _keypoints(
        self, figure: Figure, joints: FloatArray, visible: BoolArray
    ) -> NDArray[np.int64]:
        """Keypoints (17, 3) of the nearest figure."""
        height, width = self.image.shape[:2]
        inside = ((joints >= 0) & (joints < (width, height))).all(axis=1)
        is_labeled = self.rng.random(len(JOINTS)) >= NOT_LABELED_SHARE
        is_labeled &= figure.seen & inside
        flags = np.where(visible, VISIBLE, HIDDEN)
        return np.column_stack((np.floor(joints).astype(np.int64), flags)) * is_labeled[:, None]


class SyntheticCocoKeypoints(SyntheticCoco):
    """COCO's folders, `annotations/person_keypoints_*2017.json`, and boxes in `DETECTIONS`."""

    generator = "uniformer_mm.datasets.synthetic.coco_keypoints"
    scene = PersonScene
    description = "Synthetic COCO keypoints"
    subject = "person_keypoints"
    categories = (
        {
            "id": 1,
            "name": "person",
            "supercategory": "person",
            "keypoints": JOINTS,
            "skeleton": SKELETON,
        },
    )

    def split_files(self, split: str) -> list[str]:
        """The annotation file, and the boxes of a detector for validation."""
        boxes = [DETECTIONS] if split == self.splits[1] else []
        return [*super().split_files(split), *boxes]

    def write_annotations(self, paths: list[Path], split: str, records: list[Any]) -> None:
        """Write the annotation file, and the boxes of a detector for validation."""
        super().write_annotations(paths, split, records)
        rng = np.random.default_rng((self.seed, 2))
        for path in paths[1:]:
            boxes = [
                box for image, persons in records for box in detected_boxes(image, persons, rng)
            ]
            write_json(path, boxes)


def detected_boxes(image: Record, persons: list[Record], rng: Rng) -> Iterator[Record]:
    """Imitate a good detector: every person of an image, slightly shifted, and false positives."""

    def box(corner: NDArray[Any], extent: NDArray[Any], score: float) -> Record:
        bbox = np.concatenate((corner, extent)).round(2).tolist()
        score = round(float(score), 4)
        return {"image_id": image["id"], "category_id": 1, "bbox": bbox, "score": score}

    for person in persons:
        corner, extent = np.array(person["bbox"]).reshape(2, 2)
        corner = corner + extent * rng.uniform(-0.05, 0.05, 2)
        extent = extent * rng.uniform(0.92, 1.08, 2)
        yield box(corner, extent, rng.uniform(0.9, 1) if person["num_keypoints"] else 0.5)
    size = np.array((image["width"], image["height"]))
    for _ in range(rng.integers(0, 3)):
        extent = size * rng.uniform(0.1, 0.4, 2)
        yield box(rng.uniform(0, size - extent), extent, rng.uniform(0.01, 0.2))
