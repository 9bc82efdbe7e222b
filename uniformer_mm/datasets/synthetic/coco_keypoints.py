"""A drawn set of people with COCO's 17 keypoints in COCO's own layout, and a detector's boxes.

Several articulated figures per image, in poses, sizes and clothes of their own, in front of each
other and cut off by the border, seen from the front or from behind. Like COCO, the set also has
images without people, people without labelled joints, and crowd regions (``iscrowd``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.synthetic.canvas import (
    BoolArray,
    FloatArray,
    develop,
    draw_background,
    encode_jpeg,
)
from uniformer_mm.datasets.synthetic.coco import (
    file_name,
    image_record,
    mask_record,
    write_annotations,
)
from uniformer_mm.datasets.synthetic.generated import GeneratedSet, SetSpec
from uniformer_mm.datasets.synthetic.stick_figures import (
    HIDDEN,
    JOINTS,
    NOT_LABELLED,
    VISIBLE,
    Figure,
    covered,
)

# Part of the cache key: raise it with every change that alters a pixel or an annotation.
GENERATOR_VERSION = 1

DETECTIONS = "person_detection_results/COCO_val2017_detections_AP_H_56_person.json"
"""Boxes of people in the validation images; named like the file of the published results."""

SKELETON: tuple[tuple[int, int], ...] = (
    *((16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9)),
    *((8, 10), (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7)),
)
"""Joints that COCO connects, counted from 1."""

PEOPLE_PER_IMAGE = (1, 4)
HEIGHT = (0.36, 0.85)  # of the shorter image side
MAX_HIDDEN = 0.25  # a figure may lose this share of its area to other figures and the image border
NOT_LABELLED_SHARE = 0.02  # of the joints that one could label
# By index, not by chance: the smallest of sets has people, and larger ones have all kinds.
EMPTY_PERIOD, EMPTY_PHASE = 16, 7
CROWD_PERIOD, CROWD_PHASE = 10, 4
FAR_AWAY_PERIOD, FAR_AWAY_PHASE = 6, 5

_GENERATOR_NAME = "uniformer_mm.datasets.synthetic.coco_keypoints"
_PLACEMENT_ATTEMPTS = 20


class SyntheticKeypointsSpec(SetSpec):
    """Images in ``train2017`` and ``val2017``; the aspect ratio varies from 3:4 to 4:3."""


def make_synthetic_keypoints(root: Path, spec: SyntheticKeypointsSpec) -> Path:
    """Make sure that ``root`` holds the set of ``spec``: reuse it, or draw it anew.

    Returns:
        ``root``, with ``train2017/``, ``val2017/``, ``annotations/person_keypoints_*2017.json`` and
        the boxes of a detector in `DETECTIONS`.

    Raises:
        FileExistsError: ``root`` holds something else, which is never deleted.
    """
    return _generated_set().make(root, spec)


# ---------------------------------------------------------------------------------------- on disk


def _generated_set() -> GeneratedSet[SyntheticKeypointsSpec]:
    return GeneratedSet(
        _GENERATOR_NAME, GENERATOR_VERSION, SyntheticKeypointsSpec, _contents, _write
    )


def _annotation_file(split: str) -> str:
    return f"annotations/person_keypoints_{split}.json"


def _contents(spec: SyntheticKeypointsSpec) -> set[str]:
    """Relative names of all files and folders of a set."""
    names = {"annotations", "person_detection_results", DETECTIONS}
    for split, count in (("train2017", spec.num_train), ("val2017", spec.num_val)):
        names |= {split, _annotation_file(split)}
        names |= {f"{split}/{file_name(index)}" for index in range(count)}
    return names


def _write(root: Path, spec: SyntheticKeypointsSpec) -> None:
    _write_split(root, "train2017", 0, spec.num_train, spec)
    people, shapes = _write_split(root, "val2017", 1, spec.num_val, spec)
    rng = np.random.default_rng((spec.seed, 2))
    boxes = [box for shape in shapes for box in _detected_boxes(people, shape, rng)]
    path = root / DETECTIONS
    path.parent.mkdir()
    path.write_text(json.dumps(boxes, separators=(",", ":")))


def _write_split(
    root: Path, split: str, split_index: int, count: int, spec: SyntheticKeypointsSpec
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Draw and write the images of one split; its records of people and of images."""
    (root / split).mkdir()
    images: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    for index in range(count):
        rng = np.random.default_rng((spec.seed, split_index, index))
        scene = Scene(
            spec.image_size,
            rng,
            is_empty=index % EMPTY_PERIOD == EMPTY_PHASE,
            has_crowd=index % CROWD_PERIOD == CROWD_PHASE,
            has_someone_far_away=index % FAR_AWAY_PERIOD == FAR_AWAY_PHASE,
        )
        (root / split / file_name(index)).write_bytes(encode_jpeg(scene.canvas))
        images.append(image_record(index, scene.canvas))
        for person in scene.people:
            people.append(_person_record(len(people) + 1, index + 1, person))
    write_annotations(
        root / _annotation_file(split),
        {
            "description": f"Synthetic COCO keypoints, {split}",
            "version": str(GENERATOR_VERSION),
            "contributor": _GENERATOR_NAME,
        },
        images,
        people,
        [
            {
                "id": 1,
                "name": "person",
                "supercategory": "person",
                "keypoints": JOINTS,
                "skeleton": SKELETON,
            }
        ],
    )
    return people, images


def _person_record(annotation_id: int, image_id: int, person: Person) -> dict[str, Any]:
    """COCO's record of the visible part of a person, or of a crowd region."""
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": 1,
        **mask_record(person.visible, person.is_crowd),
        "num_keypoints": int((person.keypoints[:, 2] > NOT_LABELLED).sum()),
        "keypoints": person.keypoints.ravel().tolist(),
    }


def _detected_boxes(
    people: list[dict[str, Any]], image: dict[str, Any], rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """What a good detector finds in an image: every person, a little off, and a few others."""
    size = np.array((image["width"], image["height"]))
    for person in people:
        if person["image_id"] == image["id"]:
            corner, extent = np.array(person["bbox"]).reshape(2, 2)
            corner = corner + extent * rng.uniform(-0.05, 0.05, 2)
            extent = extent * rng.uniform(0.92, 1.08, 2)
            is_clear = person["num_keypoints"] > 0
            yield _box(image["id"], corner, extent, rng.uniform(0.9, 1) if is_clear else 0.5)
    for _ in range(rng.integers(0, 3)):
        extent = size * rng.uniform(0.1, 0.4, 2)
        yield _box(image["id"], rng.uniform(0, size - extent), extent, rng.uniform(0.01, 0.2))


def _box(image_id: int, corner: FloatArray, extent: FloatArray, score: float) -> dict[str, Any]:
    bbox = np.concatenate((corner, extent)).round(2).tolist()
    return {"image_id": image_id, "category_id": 1, "bbox": bbox, "score": round(float(score), 4)}


# ----------------------------------------------------------------------------------------- scenes


@dataclass
class Person:
    """A figure of a scene, or a crowd of them, and what can be seen of it.

    Attributes:
        visible: Mask (H, W) of what the border and nearer figures leave.
        full_area: Pixels of the whole figure, hidden or not.
        keypoints: Joints (17, 3) as COCO has them: the pixel (x, y), or zeros if not labelled, and
            the visibility flag.
        is_crowd: Whether it is a crowd region.
    """

    visible: BoolArray
    full_area: float
    keypoints: NDArray[np.int64]
    is_crowd: bool = False


class Scene:
    """A drawn image and its people, from the farthest to the nearest.

    Attributes:
        canvas: RGB image (H, W, 3), float32 from 0 to 255.
        people: Their visible masks are disjoint.
    """

    def __init__(
        self,
        image_size: int,
        rng: np.random.Generator,
        *,
        is_empty: bool,
        has_crowd: bool,
        has_someone_far_away: bool,
    ) -> None:
        """Draw a scene whose longer side has ``image_size`` pixels."""
        self.rng = rng
        shorter = round(image_size * rng.uniform(3 / 4, 1))
        shape = (image_size, shorter) if rng.random() < 0.4 else (shorter, image_size)
        self.shorter_side = shorter
        self.canvas = draw_background(shape, rng)
        self.people: list[Person] = []
        angle = math.radians(rng.uniform(20, 160))
        self._light = np.array([math.cos(angle), -math.sin(angle)], dtype=np.float32)  # from above
        if has_crowd:
            self._add_crowd()
        if has_someone_far_away:
            self._add_person(rng.uniform(0.15, 0.2) * shorter, is_labelled=False)
        if not is_empty:
            count = rng.integers(PEOPLE_PER_IMAGE[0], PEOPLE_PER_IMAGE[1] + 1)
            heights = np.exp(rng.uniform(math.log(HEIGHT[0]), math.log(HEIGHT[1]), count)) * shorter
            for height in sorted(heights.tolist()):
                self._add_person(height)
        self.canvas = develop(self.canvas, rng)

    def _add_person(self, height: float, is_labelled: bool = True) -> None:
        """Paint a figure where none is hidden too much; none if there is no such place."""
        figure = Figure(height, self.rng)
        shape, origin = figure.mask()
        full_area = float(shape.sum())
        extent = np.array(shape.shape[::-1])
        overhang = (0.12 * extent).astype(int)
        room = np.array(self.canvas.shape[1::-1]) - extent + overhang
        for _ in range(_PLACEMENT_ATTEMPTS):
            corner = self.rng.integers(-overhang, np.maximum(room, 1 - overhang))
            mask = self._in_image(shape, corner)
            seen = [mask.sum() / full_area]
            seen += [(other.visible & ~mask).sum() / other.full_area for other in self.people]
            if min(seen) >= 1 - MAX_HIDDEN:
                position = corner + origin
                visible = figure.paint(self.canvas, position, self._light)
                keypoints = self._keypoints(figure, figure.joints + position, visible)
                if not is_labelled:
                    keypoints[:] = 0
                self._put_in_front(Person(mask, full_area, keypoints))
                return

    def _in_image(self, shape: BoolArray, corner: NDArray[np.int64]) -> BoolArray:
        """A mask (H, W) of a shape (h, w) whose upper left corner is at (x, y)."""
        mask = np.zeros(self.canvas.shape[:2], dtype=bool)
        (left, top), (height, width) = corner.tolist(), shape.shape
        rows, columns = mask.shape
        above, before = max(-top, 0), max(-left, 0)
        part = shape[above : max(rows - top, 0), before : max(columns - left, 0)]
        mask[top + above : top + height, left + before : left + width] = part
        return mask

    def _keypoints(
        self, figure: Figure, joints: FloatArray, visible: BoolArray
    ) -> NDArray[np.int64]:
        """Keypoints (17, 3) of a figure that nobody stands in front of yet."""
        height, width = self.canvas.shape[:2]
        flags = np.where(visible, VISIBLE, HIDDEN)
        inside = ((joints >= 0) & (joints < (width, height))).all(axis=1)
        is_labelled = self.rng.random(len(JOINTS)) >= NOT_LABELLED_SHARE
        flags[~(figure.seen & inside & is_labelled)] = NOT_LABELLED
        keypoints = np.column_stack((np.floor(joints).astype(np.int64), flags))
        keypoints[flags == NOT_LABELLED] = 0
        return keypoints

    def _add_crowd(self) -> None:
        """Paint rows of tiny figures; the annotation covers all of them."""
        rng = self.rng
        height = self.shorter_side * rng.uniform(0.12, 0.16)
        size = np.array(self.canvas.shape[1::-1])
        centre = rng.uniform(0.25, 0.75, 2) * size
        region = np.zeros(self.canvas.shape[:2], dtype=bool)
        for row in range(3):
            for column in range(-2, 3):
                offset = np.array((column + rng.uniform(-0.2, 0.2), row - 1)) * (0.5, 0.3) * height
                figure = Figure(height, rng)
                shape, origin = figure.mask()
                position = (centre + offset).astype(np.int64)
                region |= self._in_image(shape, position - origin)
                figure.paint(self.canvas, position, self._light)
        keypoints = np.zeros((len(JOINTS), 3), dtype=np.int64)
        self._put_in_front(Person(region, float(region.sum()), keypoints, is_crowd=True))

    def _put_in_front(self, person: Person) -> None:
        for behind in self.people:
            behind.visible &= ~person.visible
            flags = behind.keypoints[:, 2]
            flags[covered(person.visible, behind.keypoints[:, :2]) & (flags == VISIBLE)] = HIDDEN
        self.people.append(person)
