"""Synthetic classification dataset in the format of ImageNet.

Every image has one object over a muted, cluttered background, with a few small ones around it. A
class is a shape and a pattern; each shape and each pattern occurs in two classes. Colors say
nothing; size, rotation, stretch, lighting, position and image size vary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from uniformer_mm.datasets.synthetic.dataset import SyntheticDataset
from uniformer_mm.datasets.synthetic.drawing import (
    SHAPES,
    FloatArray,
    Rng,
    encode_jpeg,
    posed_outline,
    rgb,
)
from uniformer_mm.datasets.synthetic.scene import Scene


def _wave(turns: FloatArray) -> FloatArray:
    return np.sin(2 * math.pi * turns)


# Value from -1 to 1 of two coordinates in periods of the pattern, from the object's center.
PATTERNS: dict[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "plain": lambda x, y: np.full_like(x, -1),
    "striped": lambda x, y: _wave(x),
    "ringed": lambda x, y: _wave(np.hypot(x, y)),
    "rayed": lambda x, y: _wave(np.arctan2(y, x) * 7 / (2 * math.pi)),
    "chequered": lambda x, y: _wave(x / 1.5) * _wave(y / 1.5),
    "dotted": lambda x, y: 1 - _wave(x) - _wave(y),
}
# Each shape has two patterns, and each pattern two shapes that are not alike.
KINDS = tuple(
    (shape, pattern)
    for shapes, patterns in (
        (("disc", "cross"), ("plain", "rayed")),
        (("square", "triangle"), ("striped", "chequered")),
        (("star", "heart"), ("ringed", "dotted")),
    )
    for shape in shapes
    for pattern in patterns
)
CLASSES = tuple(f"{pattern} {shape}" for shape, pattern in KINDS)
FOLDERS = tuple(f"n{index + 1:08d}" for index in range(len(CLASSES)))
"""Names like WordNet ids, in the order of the classes."""

OBJECT_SIZE = (0.55, 0.8)  # of the shorter image side
MAX_SHIFT = 0.05  # from the image's center, of the shorter image side
SMALL_OBJECTS = (0, 2)
SMALL_SIZE = (0.1, 0.16)  # of the shorter image side


class ObjectScene(Scene):
    """An image of an object of a class."""

    def __init__(self, label: int, image_size: int, rng: Rng) -> None:
        """Draw the object over a few small ones."""
        super().__init__(image_size, rng)
        size = np.array(self.image.shape[1::-1], dtype=np.float32)
        for _ in range(rng.integers(*SMALL_OBJECTS, endpoint=True)):
            other = int(rng.integers(len(CLASSES)))
            center = size * rng.random(2, dtype=np.float32)
            self._draw(other, self.shorter_side * rng.uniform(*SMALL_SIZE), center)
        shift = rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2).astype(np.float32)
        center = size / 2 + self.shorter_side * shift
        self._draw(label, self.shorter_side * rng.uniform(*OBJECT_SIZE), center)
        self.apply_camera()

    def _draw(self, label: int, size: float, center: FloatArray) -> None:
        rng = self.rng
        shape, pattern = KINDS[label]
        polygon = self.polygon(posed_outline(SHAPES.index(shape), size, rng) + center, size)
        hue = rng.random()
        first = rgb(hue, rng.uniform(0.6, 0.92), rng.uniform(0.76, 1))
        second = rgb(hue + rng.uniform(0.3, 0.7), rng.uniform(0.2, 0.9), rng.uniform(0.3, 1))
        y, x = np.mgrid[polygon.window].astype(np.float32)
        x, y = x - center[0], y - center[1]
        angle = rng.uniform(0, 2 * math.pi)
        periods = rng.uniform(3, 4.5) / size
        along = (x * math.cos(angle) + y * math.sin(angle)) * periods
        across = (y * math.cos(angle) - x * math.sin(angle)) * periods
        # Edges are soft over a few pixels.
        share = 0.5 + 0.5 * np.tanh(4 * PATTERNS[pattern](along, across))[..., None]
        polygon.draw(self.image, first + (second - first) * share, self.light)


class SyntheticImagenet(SyntheticDataset):
    """Folders `train` and `val` with a folder per class, and lists with the labels in `meta`."""

    generator = "uniformer_mm.datasets.synthetic.imagenet"
    version = 1
    splits = ("train", "val")

    def folders(self) -> set[str]:
        """Every split has a folder for every class, also for those without an image."""
        return super().folders() | {f"{split}/{name}" for split in self.splits for name in FOLDERS}

    def sample_files(self, split: str, index: int) -> list[str]:
        """The image; its label is `index` modulo the number of classes."""
        folder = FOLDERS[index % len(FOLDERS)]
        if split == "train":
            return [f"{split}/{folder}/{folder}_{index // len(FOLDERS) + 1}.JPEG"]
        return [f"{split}/{folder}/ILSVRC2012_val_{index + 1:08d}.JPEG"]

    def split_files(self, split: str) -> list[str]:
        """The list."""
        return [f"meta/{split}.txt"]

    def write_sample(self, paths: list[Path], index: int, rng: Rng) -> str:
        """Write the image; return its line in the list."""
        label = index % len(CLASSES)
        paths[0].write_bytes(encode_jpeg(ObjectScene(label, self.image_size, rng).image))
        return f"{paths[0].parent.name}/{paths[0].name} {label}\n"
