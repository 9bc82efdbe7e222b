"""A drawn detection set in COCO's own layout: small, seeded, honest and quick to learn.

Every scene holds a few shapes over a muted, cluttered background. A class is a shape and a range of
hues; size, rotation, stretch, lighting, occlusion and truncation vary, and so does the image size.
Like COCO, the set also has empty images, crowd regions (``iscrowd``) and masks in several parts.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from uniformer_mm.datasets.synthetic.canvas import (
    BoolArray,
    FloatArray,
    Window,
    develop,
    draw_background,
    encode_jpeg,
    paint_lit_shape,
    rasterise,
    window_of,
)
from uniformer_mm.datasets.synthetic.generated import GeneratedSet, SetSpec
from uniformer_mm.datasets.synthetic.shapes import SHAPES, object_colour, posed_outline

# Part of the cache key: raise it with every change that alters a pixel or an annotation.
GENERATOR_VERSION = 1

CLASSES = SHAPES
OBJECTS_PER_IMAGE = (1, 5)
OBJECT_SIZE = (1 / 8, 1 / 2)  # of the shorter image side
MAX_HIDDEN = 0.7  # an object may lose this share of its area to other objects and the image border
# By index, not by chance: the smallest of sets has all kinds. Even and odd, so they never meet.
EMPTY_PERIOD, EMPTY_PHASE = 16, 7
CROWD_PERIOD, CROWD_PHASE = 10, 4

_GENERATOR_NAME = "uniformer_mm.datasets.synthetic.coco"
_PLACEMENT_ATTEMPTS = 20


class SyntheticCocoSpec(SetSpec):
    """Images in ``train2017`` and ``val2017``; the aspect ratio varies from 3:4 to 4:3."""


def make_synthetic_coco(root: Path, spec: SyntheticCocoSpec) -> Path:
    """Make sure that ``root`` holds the set of ``spec``: reuse it, or draw it anew.

    Returns:
        ``root``, with ``train2017/``, ``val2017/`` and ``annotations/instances_*2017.json``.

    Raises:
        FileExistsError: ``root`` holds something else, which is never deleted.
    """
    return _generated_set().make(root, spec)


# ---------------------------------------------------------------------------------------- on disk


def _generated_set() -> GeneratedSet[SyntheticCocoSpec]:
    return GeneratedSet(_GENERATOR_NAME, GENERATOR_VERSION, SyntheticCocoSpec, _contents, _write)


def _splits(spec: SyntheticCocoSpec) -> tuple[tuple[str, int], ...]:
    return ("train2017", spec.num_train), ("val2017", spec.num_val)


def file_name(index: int) -> str:
    """Name of an image, as in COCO."""
    return f"{index + 1:012d}.jpg"


def _annotation_file(split: str) -> str:
    return f"annotations/instances_{split}.json"


def _contents(spec: SyntheticCocoSpec) -> set[str]:
    """Relative names of all files and folders of a set."""
    names = {"annotations"}
    for split, count in _splits(spec):
        names |= {split, _annotation_file(split)}
        names |= {f"{split}/{file_name(index)}" for index in range(count)}
    return names


def _write(root: Path, spec: SyntheticCocoSpec) -> None:
    for split_index, (split, count) in enumerate(_splits(spec)):
        _write_split(root, split, split_index, count, spec)


def _write_split(
    root: Path, split: str, split_index: int, count: int, spec: SyntheticCocoSpec
) -> None:
    """Draw the images of one split and write them with their annotation file."""
    (root / split).mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        rng = np.random.default_rng((spec.seed, split_index, index))
        scene = Scene(
            spec.image_size,
            rng,
            is_empty=index % EMPTY_PERIOD == EMPTY_PHASE,
            has_crowd=index % CROWD_PERIOD == CROWD_PHASE,
        )
        (root / split / file_name(index)).write_bytes(encode_jpeg(scene.canvas))
        images.append(image_record(index, scene.canvas))
        for layer in scene.layers:
            annotations.append(_annotation(len(annotations) + 1, index + 1, layer))
    write_annotations(
        root / _annotation_file(split),
        {
            "description": f"Synthetic COCO, {split}",
            "version": str(GENERATOR_VERSION),
            "contributor": _GENERATOR_NAME,
        },
        images,
        annotations,
        [
            {"id": index + 1, "name": name, "supercategory": "shape"}
            for index, name in enumerate(CLASSES)
        ],
    )


# ------------------------------------------------------------------------------------ annotations


def _annotation(annotation_id: int, image_id: int, layer: Layer) -> dict[str, Any]:
    """COCO's record of the visible part of an object or of a crowd region."""
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": layer.label + 1,
        **mask_record(layer.visible, layer.is_crowd),
    }


def image_record(index: int, canvas: FloatArray) -> dict[str, Any]:
    """COCO's record of an image (H, W, 3)."""
    height, width = canvas.shape[:2]
    return {
        "id": index + 1,
        "file_name": file_name(index),
        "width": width,
        "height": height,
        "license": 1,
    }


def mask_record(mask: BoolArray, is_crowd: bool) -> dict[str, Any]:
    """What COCO's record of an object says about its mask (H, W)."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    left, top = int(columns[0]), int(rows[0])
    right, bottom = int(columns[-1]) + 1, int(rows[-1]) + 1
    polygons = None if is_crowd else mask_to_polygons(mask)
    return {
        "bbox": [float(left), float(top), float(right - left), float(bottom - top)],
        "area": int(mask.sum()),
        "iscrowd": int(is_crowd),
        "segmentation": mask_to_rle(mask) if polygons is None else polygons,
    }


def write_annotations(
    path: Path,
    info: dict[str, str],
    images: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
    categories: list[dict[str, Any]],
) -> None:
    """Write an annotation file with COCO's sections."""
    apache = {
        "id": 1,
        "name": "Apache License 2.0",
        "url": "https://www.apache.org/licenses/LICENSE-2.0",
    }
    content = {
        "info": info,
        "licenses": [apache],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, separators=(",", ":")))


def mask_to_polygons(mask: BoolArray) -> list[list[float]] | None:
    """Outlines [x0, y0, x1, y1, ...] of the parts of a mask (H, W); None if it has a hole.

    The contour of the mask at twice its size runs between the centres of the border pixels and
    their outer edges, so pycocotools turns the polygons back into exactly this mask. (At its own
    size the contour runs through the centres, and half of the border would get lost.)
    """
    doubled = mask.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if any(parent >= 0 for *_, parent in hierarchy[0]):
        return None
    return [((contour.reshape(-1) + 0.5) / 2).tolist() for contour in contours]


def mask_to_rle(mask: BoolArray) -> dict[str, list[int]]:
    """Uncompressed run lengths of a mask (H, W), column by column and background first."""
    flat = np.concatenate(([False], mask.ravel(order="F"), [False]))
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    bounds = np.concatenate(([0], changes, [mask.size]))
    counts = np.diff(bounds)
    if counts[-1] == 0:
        counts = counts[:-1]
    return {"size": list(mask.shape), "counts": counts.tolist()}


# ----------------------------------------------------------------------------------------- scenes


@dataclass
class Layer:
    """An object or a crowd region of a scene, and what can be seen of it.

    Attributes:
        label: Index into ``CLASSES``.
        visible: Mask (H, W) of what the border and later objects leave.
        full_area: Pixels of the whole shape, hidden or not.
        is_crowd: Whether it is a crowd region.
    """

    label: int
    visible: BoolArray
    full_area: float
    is_crowd: bool = False


class Scene:
    """A drawn image and its objects, in painting order.

    Attributes:
        canvas: RGB image (H, W, 3), float32 from 0 to 255.
        layers: Objects and crowd regions; their visible masks are disjoint.
    """

    def __init__(
        self, image_size: int, rng: np.random.Generator, *, is_empty: bool, has_crowd: bool
    ) -> None:
        """Draw a scene whose longer side has ``image_size`` pixels."""
        self.rng = rng
        shorter = round(image_size * rng.uniform(3 / 4, 1))
        shape = (image_size, shorter) if rng.random() < 0.4 else (shorter, image_size)
        self.shorter_side = shorter
        self.canvas = draw_background(shape, rng)
        self.layers: list[Layer] = []
        angle = rng.uniform(0, 2 * math.pi)
        self._light = np.array([math.cos(angle), math.sin(angle)], dtype=np.float32)
        if has_crowd:
            self._add_crowd()
        if not is_empty:
            for _ in range(rng.integers(OBJECTS_PER_IMAGE[0], OBJECTS_PER_IMAGE[1] + 1)):
                self._add_object()
        self.canvas = develop(self.canvas, rng)

    def _add_object(self) -> None:
        """Paint one object where it hides no other one too much; none if there is no such place."""
        rng = self.rng
        for _ in range(_PLACEMENT_ATTEMPTS):
            label = int(rng.integers(len(CLASSES)))
            size = self.shorter_side * math.exp(rng.uniform(*np.log(OBJECT_SIZE)))
            outline = posed_outline(label, size, rng) + self._random_position(0.3 * size)
            window = window_of(outline, self.canvas.shape, margin=math.ceil(0.25 * size))
            alpha = rasterise(outline, window)
            mask = self._mask(alpha, window)
            full_area = cv2.contourArea(outline)
            seen = [mask.sum() / full_area]
            seen += [(layer.visible & ~mask).sum() / layer.full_area for layer in self.layers]
            if min(seen) >= 1 - MAX_HIDDEN:
                paint_lit_shape(
                    self.canvas, outline, window, alpha, object_colour(label, rng), self._light
                )
                self._put_on_top(Layer(label, mask, full_area))
                return

    def _add_crowd(self) -> None:
        """Paint a dense cluster of tiny shapes of one class; the annotation covers all of it."""
        rng = self.rng
        label = int(rng.integers(len(CLASSES)))
        pitch = self.shorter_side * rng.uniform(1 / 20, 1 / 15)
        radii = pitch * rng.uniform((3, 2.2), (4.5, 3.2))
        centre = self._random_position(0.8 * radii[0])
        region = np.zeros(self.canvas.shape[:2], dtype=bool)
        steps = np.arange(-5, 6)
        # Rows of a hexagonal grid, within an ellipse.
        grid = np.array([(column + row % 2 / 2, row * 0.87) for row in steps for column in steps])
        grid = grid[(((grid * pitch) / radii) ** 2).sum(axis=1) <= 1]
        for position in rng.permutation(grid):
            size = pitch * rng.uniform(0.9, 1.25)
            offset = (position + rng.uniform(-0.15, 0.15, 2)) * pitch
            outline = posed_outline(label, size, rng) + (centre + offset).astype(np.float32)
            window = window_of(outline, self.canvas.shape, margin=math.ceil(0.25 * size))
            if region[window].size == 0:
                continue
            alpha = rasterise(outline, window)
            paint_lit_shape(
                self.canvas, outline, window, alpha, object_colour(label, rng), self._light
            )
            region |= self._mask(alpha, window)
        reach = 2 * math.ceil(pitch / 3) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        region = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_CLOSE, kernel).astype(bool)
        self._put_on_top(Layer(label, region, float(region.sum()), is_crowd=True))

    def _random_position(self, margin: float) -> FloatArray:
        """A point (x, y) at least ``margin`` pixels from the border."""
        height, width = self.canvas.shape[:2]
        return self.rng.uniform(margin, (width - margin, height - margin)).astype(np.float32)

    def _mask(self, alpha: FloatArray, window: Window) -> BoolArray:
        mask = np.zeros(self.canvas.shape[:2], dtype=bool)
        mask[window] = alpha >= 0.5
        return mask

    def _put_on_top(self, layer: Layer) -> None:
        for below in self.layers:
            below.visible &= ~layer.visible
        self.layers.append(layer)
