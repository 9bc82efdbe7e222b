"""A drawn classification set in ImageNet's own layout: small, seeded, honest and quick to learn.

Every image shows one object over a muted, cluttered background, with a few small ones around it. A
class is a shape and a pattern; each shape and each pattern is that of two classes. The colours tell
nothing; size, rotation, stretch, lighting and place vary, and so does the image size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from uniformer_mm.datasets.synthetic.canvas import (
    FloatArray,
    develop,
    draw_background,
    encode_jpeg,
    paint_lit_shape,
    rasterise,
    rgb,
    window_of,
)
from uniformer_mm.datasets.synthetic.generated import GeneratedSet, SetSpec
from uniformer_mm.datasets.synthetic.shapes import SHAPES, posed_outline

# Part of the cache key: raise it with every change that alters a pixel or a name.
GENERATOR_VERSION = 1

# Value from -1 to 1 of two coordinates in turns of the pattern, from the object's centre.
PATTERNS: dict[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "plain": lambda x, y: np.full_like(x, -1),
    "striped": lambda x, y: _wave(x),
    "ringed": lambda x, y: _wave(np.hypot(x, y)),
    "rayed": lambda x, y: _wave(np.arctan2(y, x) * 7 / (2 * math.pi)),
    "chequered": lambda x, y: _wave(x / 1.5) * _wave(y / 1.5),
    "dotted": lambda x, y: 1 - _wave(x) - _wave(y),
}
# Each shape has two patterns, and each pattern two shapes that are little alike.
KINDS = (
    ("disc", "plain"),
    ("disc", "rayed"),
    ("cross", "plain"),
    ("cross", "rayed"),
    ("square", "striped"),
    ("square", "chequered"),
    ("triangle", "striped"),
    ("triangle", "chequered"),
    ("star", "ringed"),
    ("star", "dotted"),
    ("heart", "ringed"),
    ("heart", "dotted"),
)
CLASSES = tuple(f"{pattern} {shape}" for shape, pattern in KINDS)
FOLDERS = tuple(f"n{index + 1:08d}" for index in range(len(CLASSES)))
"""Names as of WordNet ids, in the order of the classes."""

OBJECT_SIZE = (0.55, 0.8)  # of the shorter image side
MAX_SHIFT = 0.05  # from the image's centre, of the shorter image side
SMALL_OBJECTS = (0, 2)
SMALL_SIZE = (0.1, 0.16)  # of the shorter image side

_GENERATOR_NAME = "uniformer_mm.datasets.synthetic.imagenet"


class SyntheticImagenetSpec(SetSpec):
    """Images in ``train`` and ``val``; the aspect ratio varies from 3:4 to 4:3."""


def make_synthetic_imagenet(root: Path, spec: SyntheticImagenetSpec) -> Path:
    """Make sure that ``root`` holds the set of ``spec``: reuse it, or draw it anew.

    Returns:
        ``root``, with ``train/`` and ``val/``, a folder per class in each, and lists of all images
        with their labels in ``meta/``.

    Raises:
        FileExistsError: ``root`` holds something else, which is never deleted.
    """
    return _generated_set().make(root, spec)


# ---------------------------------------------------------------------------------------- on disk


def _generated_set() -> GeneratedSet[SyntheticImagenetSpec]:
    return GeneratedSet(
        _GENERATOR_NAME, GENERATOR_VERSION, SyntheticImagenetSpec, _contents, _write
    )


def _splits(spec: SyntheticImagenetSpec) -> tuple[tuple[str, int], ...]:
    return ("train", spec.num_train), ("val", spec.num_val)


def _file_name(split: str, index: int) -> str:
    """Name below the split's folder; the label is ``index`` modulo the number of classes."""
    folder = FOLDERS[index % len(FOLDERS)]
    if split == "train":
        return f"{folder}/{folder}_{index // len(FOLDERS) + 1}.JPEG"
    return f"{folder}/ILSVRC2012_val_{index + 1:08d}.JPEG"


def _contents(spec: SyntheticImagenetSpec) -> set[str]:
    """Relative names of all files and folders of a set."""
    names = {"meta"}
    for split, count in _splits(spec):
        names |= {split, f"meta/{split}.txt"}
        names |= {f"{split}/{folder}" for folder in FOLDERS}
        names |= {f"{split}/{_file_name(split, index)}" for index in range(count)}
    return names


def _write(root: Path, spec: SyntheticImagenetSpec) -> None:
    (root / "meta").mkdir()
    for split_index, (split, count) in enumerate(_splits(spec)):
        for folder in FOLDERS:
            (root / split / folder).mkdir(parents=True)
        lines = []
        for index in range(count):
            rng = np.random.default_rng((spec.seed, split_index, index))
            label = index % len(CLASSES)
            name = _file_name(split, index)
            (root / split / name).write_bytes(encode_jpeg(draw(label, spec.image_size, rng)))
            lines.append(f"{name} {label}\n")
        (root / "meta" / f"{split}.txt").write_text("".join(lines))


# ----------------------------------------------------------------------------------------- images


def draw(label: int, image_size: int, rng: np.random.Generator) -> FloatArray:
    """An image (H, W, 3) of a class, RGB from 0 to 255; its longer side is ``image_size``."""
    shorter = round(image_size * rng.uniform(3 / 4, 1))
    shape = (image_size, shorter) if rng.random() < 0.4 else (shorter, image_size)
    size = np.array((shape[1], shape[0]), dtype=np.float32)
    canvas = draw_background(shape, rng)
    angle = rng.uniform(0, 2 * math.pi)
    light = np.array([math.cos(angle), math.sin(angle)], dtype=np.float32)
    for _ in range(rng.integers(SMALL_OBJECTS[0], SMALL_OBJECTS[1] + 1)):
        other = int(rng.integers(len(CLASSES)))
        place = size * rng.random(2, dtype=np.float32)
        _paint(canvas, other, shorter * rng.uniform(*SMALL_SIZE), place, light, rng)
    shift = rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2).astype(np.float32)
    place = size / 2 + shorter * shift
    _paint(canvas, label, shorter * rng.uniform(*OBJECT_SIZE), place, light, rng)
    return develop(canvas, rng)


def _paint(
    canvas: FloatArray,
    label: int,
    size: float,
    place: FloatArray,
    light: FloatArray,
    rng: np.random.Generator,
) -> None:
    """Add an object of a class with ``size`` pixels around a point (x, y)."""
    shape, pattern = KINDS[label]
    outline = posed_outline(SHAPES.index(shape), size, rng) + place
    window = window_of(outline, canvas.shape, margin=math.ceil(0.25 * size))
    hue = rng.random()
    first = rgb(hue, rng.uniform(0.6, 0.92), rng.uniform(0.76, 1))
    second = rgb(hue + rng.uniform(0.3, 0.7), rng.uniform(0.2, 0.9), rng.uniform(0.3, 1))
    y, x = np.mgrid[window].astype(np.float32)
    angle = rng.uniform(0, 2 * math.pi)
    turns = rng.uniform(3, 4.5) / size
    along = ((x - place[0]) * math.cos(angle) + (y - place[1]) * math.sin(angle)) * turns
    across = ((y - place[1]) * math.cos(angle) - (x - place[0]) * math.sin(angle)) * turns
    # Edges are soft over a few pixels.
    share = 0.5 + 0.5 * np.tanh(4 * PATTERNS[pattern](along, across))[..., None]
    colour = first + (second - first) * share
    paint_lit_shape(canvas, outline, window, rasterise(outline, window), colour, light)


def _wave(turns: FloatArray) -> FloatArray:
    return np.sin(2 * math.pi * turns)
