"""Synthetic detection dataset in the format of COCO instances.

Every scene has a few shapes over a muted, cluttered background. A class is a shape and a range of
hues; size, rotation, stretch, lighting, occlusion, truncation and image size vary. As in COCO,
there are images without objects, crowd regions (`iscrowd`), and masks in several parts.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.synthetic.dataset import SyntheticDataset
from uniformer_mm.datasets.synthetic.drawing import (
    SHAPES,
    BoolArray,
    Polygon,
    Rng,
    encode_jpeg,
    posed_outline,
    shape_color,
)
from uniformer_mm.datasets.synthetic.scene import Scene

CLASSES = SHAPES
OBJECTS_PER_IMAGE = (1, 5)
OBJECT_SIZE = (1 / 8, 1 / 2)  # of the shorter image side
PLACEMENT_ATTEMPTS = 20

# By index, not at random: even the smallest datasets have objects. One is odd and one even, so no
# image is both.
EMPTY_PERIOD, EMPTY_PHASE = 16, 7
CROWD_PERIOD, CROWD_PHASE = 10, 4

LICENSE = {
    "id": 1,
    "name": "Apache License 2.0",
    "url": "https://www.apache.org/licenses/LICENSE-2.0",
}

Record = dict[str, Any]


@dataclass
class Instance:
    """An object or a crowd region of a scene.

    Attributes:
        label: Index of its class.
        visible: Mask (H, W) of what the image border and nearer instances leave.
        full_area: Number of pixels including the hidden ones.
        is_crowd: Whether it is a crowd region.
        keypoints: Keypoints (17, 3) as in COCO: x, y and visibility flag.
    """

    label: int
    visible: BoolArray
    full_area: float
    is_crowd: bool = False
    keypoints: NDArray[np.int64] | None = None


class InstanceScene(Scene):
    """An image with instances, from the farthest to the nearest; their masks are disjoint."""

    max_hidden: ClassVar = 0.7
    """Share of an instance's area that may be hidden."""

    def __init__(self, image_size: int, rng: Rng, index: int) -> None:
        """Draw sample `index` of a split."""
        super().__init__(image_size, rng)
        self.instances: list[Instance] = []
        if index % CROWD_PERIOD == CROWD_PHASE:
            self.add_crowd()
        self.add_instances(index, is_empty=index % EMPTY_PERIOD == EMPTY_PHASE)
        self.apply_camera()

    def add_instances(self, index: int, is_empty: bool) -> None:
        """Draw the objects."""
        if not is_empty:
            for _ in range(self.rng.integers(*OBJECTS_PER_IMAGE, endpoint=True)):
                self._add_object()

    def add_crowd(self) -> None:
        """Draw a dense cluster of small shapes of one class, annotated as one region."""
        rng = self.rng
        label = int(rng.integers(len(CLASSES)))
        pitch = self.shorter_side * rng.uniform(1 / 20, 1 / 15)
        radii = pitch * rng.uniform((3, 2.2), (4.5, 3.2))
        center = self.random_point(0.8 * radii[0])
        region = np.zeros(self.image.shape[:2], dtype=bool)
        steps = np.arange(-5, 6)
        # Rows of a hexagonal grid, within an ellipse.
        grid = np.array([(column + row % 2 / 2, row * 0.87) for row in steps for column in steps])
        grid = grid[(((grid * pitch) / radii) ** 2).sum(axis=1) <= 1]
        for position in rng.permutation(grid):
            size = pitch * rng.uniform(0.9, 1.25)
            offset = (position + rng.uniform(-0.15, 0.15, 2)) * pitch
            outline = posed_outline(label, size, rng) + (center + offset).astype(np.float32)
            polygon = self.polygon(outline, size)
            if polygon.alpha.size:
                polygon.draw(self.image, shape_color(label, rng), self.light)
                region |= self._mask(polygon)
        reach = 2 * math.ceil(pitch / 3) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        region = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_CLOSE, kernel).astype(bool)
        self.put_in_front(Instance(label, region, float(region.sum()), is_crowd=True))

    def hides_too_much(self, mask: BoolArray, full_area: float) -> bool:
        """Whether too much of an instance, or of those behind it, would be hidden."""
        visible = [mask.sum() / full_area]
        visible += [(other.visible & ~mask).sum() / other.full_area for other in self.instances]
        return bool(min(visible) < 1 - self.max_hidden)

    def put_in_front(self, instance: Instance) -> None:
        """Add an instance that hides parts of the others."""
        for other in self.instances:
            other.visible &= ~instance.visible
        self.instances.append(instance)

    def _add_object(self) -> None:
        """Draw an object where it hides no other one too much; none if there is no such place."""
        for _ in range(PLACEMENT_ATTEMPTS):
            label = int(self.rng.integers(len(CLASSES)))
            size = self.random_size(OBJECT_SIZE)
            outline = posed_outline(label, size, self.rng) + self.random_point(0.3 * size)
            polygon = self.polygon(outline, size)
            mask, full_area = self._mask(polygon), cv2.contourArea(outline)
            if not self.hides_too_much(mask, full_area):
                polygon.draw(self.image, shape_color(label, self.rng), self.light)
                self.put_in_front(Instance(label, mask, full_area))
                return

    def _mask(self, polygon: Polygon) -> BoolArray:
        mask = np.zeros(self.image.shape[:2], dtype=bool)
        mask[polygon.window] = polygon.alpha >= 0.5
        return mask


class SyntheticCoco(SyntheticDataset):
    """Folders `train2017` and `val2017`, and `annotations/instances_*2017.json`."""

    generator = "uniformer_mm.datasets.synthetic.coco"
    version = 1
    splits = ("train2017", "val2017")

    scene: ClassVar[type[InstanceScene]] = InstanceScene
    description: ClassVar = "Synthetic COCO"
    subject: ClassVar = "instances"
    categories: ClassVar[tuple[Record, ...]] = tuple(
        {"id": index + 1, "name": name, "supercategory": "shape"}
        for index, name in enumerate(CLASSES)
    )

    def sample_files(self, split: str, index: int) -> list[str]:
        """The image."""
        return [f"{split}/{index + 1:012d}.jpg"]

    def split_files(self, split: str) -> list[str]:
        """The annotation file."""
        return [f"annotations/{self.subject}_{split}.json"]

    def write_sample(self, paths: list[Path], index: int, rng: Rng) -> tuple[Record, list[Record]]:
        """Write the image; return its record and those of its instances."""
        scene = self.scene(self.image_size, rng, index)
        paths[0].write_bytes(encode_jpeg(scene.image))
        height, width = scene.image.shape[:2]
        image = {
            "id": index + 1,
            "file_name": paths[0].name,
            "width": width,
            "height": height,
            "license": 1,
        }
        return image, [{"image_id": index + 1} | annotation(each) for each in scene.instances]

    def write_annotations(self, paths: list[Path], split: str, records: list[Any]) -> None:
        """Write the annotation file."""
        instances = [instance for _, image_instances in records for instance in image_instances]
        content = {
            "info": {
                "description": f"{self.description}, {split}",
                "version": str(self.version),
                "contributor": self.generator,
            },
            "licenses": [LICENSE],
            "images": [image for image, _ in records],
            "annotations": [{"id": number} | each for number, each in enumerate(instances, 1)],
            "categories": self.categories,
        }
        write_json(paths[0], content)


def write_json(path: Path, content: Any) -> None:
    """Write compact JSON."""
    path.write_text(json.dumps(content, separators=(",", ":")))


def annotation(instance: Instance) -> Record:
    """COCO's annotation of the visible part of an instance, without its ids."""
    mask = instance.visible
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    left, top = int(columns[0]), int(rows[0])
    right, bottom = int(columns[-1]) + 1, int(rows[-1]) + 1
    polygons = None if instance.is_crowd else mask_to_polygons(mask)
    record: Record = {
        "category_id": instance.label + 1,
        "bbox": [float(left), float(top), float(right - left), float(bottom - top)],
        "area": int(mask.sum()),
        "iscrowd": int(instance.is_crowd),
        "segmentation": mask_to_rle(mask) if polygons is None else polygons,
    }
    if instance.keypoints is not None:
        record["num_keypoints"] = int((instance.keypoints[:, 2] > 0).sum())
        record["keypoints"] = instance.keypoints.ravel().tolist()
    return record


def mask_to_polygons(mask: BoolArray) -> list[list[float]] | None:
    """Outlines [x0, y0, x1, y1, ...] of the parts of a mask (H, W); None if it has a hole.

    The contour of the mask at twice its size runs between the centers of the border pixels and
    their outer edges, so pycocotools decodes the polygons to exactly this mask. (At the original
    size the contour runs through the centers, and half of the border is lost.)
    """
    doubled = mask.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if any(parent >= 0 for *_, parent in hierarchy[0]):
        return None
    return [((contour.reshape(-1) + 0.5) / 2).tolist() for contour in contours]


def mask_to_rle(mask: BoolArray) -> dict[str, list[int]]:
    """Uncompressed run lengths of a mask (H, W), column by column and background first."""
    flat = np.concatenate(([False], mask.ravel(order="F")))
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate(([0], changes, [mask.size])))
    return {"size": list(mask.shape), "counts": counts.tolist()}
