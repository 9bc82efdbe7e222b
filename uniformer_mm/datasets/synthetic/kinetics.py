"""A drawn video set in the layout of Kinetics, whose classes only motion can tell apart.

In every clip a few shapes drift over a still, cluttered background, in one of four directions.
Their places, sizes, angles and colours have the same distribution in every class. So each single
frame fits every class, and a clip of one direction, played backwards, is one of the opposite
direction: even all frames together do not tell which, unless their order is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.synthetic.canvas import (
    FloatArray,
    develop,
    draw_background,
    paint_lit_shape,
    rasterise,
    window_of,
)
from uniformer_mm.datasets.synthetic.generated import GeneratedSet, SetSpec
from uniformer_mm.datasets.synthetic.shapes import SHAPES, object_colour, posed_outline

# Part of the cache key: raise it with every change that alters a frame or a label.
GENERATOR_VERSION = 2

CLASSES = ("right", "left", "down", "up")
"""Two opposite directions along each of `AXES`; the second is the first played backwards."""

AXES = ((1.0, 0.0), (0.0, 1.0))
"""Unit vectors (x, y), with y pointing down."""

NUM_FRAMES = 40
FRAMES_PER_SECOND = 20
OBJECTS_PER_CLIP = (2, 3)
OBJECT_SIZE = (0.25, 0.45)
"""Of the shorter side."""

WAY = (0.4, 0.55)
"""How far the objects get in a clip, in shorter sides."""

_GENERATOR_NAME = "uniformer_mm.datasets.synthetic.kinetics"
_PLACEMENT_ATTEMPTS = 30


class SyntheticKineticsSpec(SetSpec):
    """Clips in ``videos_train`` and ``videos_val``; the aspect ratio varies from 3:4 to 4:3."""


def make_synthetic_kinetics(root: Path, spec: SyntheticKineticsSpec) -> Path:
    """Make sure that ``root`` holds the set of ``spec``: reuse it, or draw it anew.

    Returns:
        ``root``, with ``videos_train/``, ``videos_val/`` and ``kinetics_*_videos.txt``.

    Raises:
        FileExistsError: ``root`` holds something else, which is never deleted.
    """
    return _generated_set().make(root, spec)


# ---------------------------------------------------------------------------------------- on disk


def _generated_set() -> GeneratedSet[SyntheticKineticsSpec]:
    return GeneratedSet(
        _GENERATOR_NAME, GENERATOR_VERSION, SyntheticKineticsSpec, _contents, _write
    )


def _splits(spec: SyntheticKineticsSpec) -> tuple[tuple[str, int], ...]:
    return ("train", spec.num_train), ("val", spec.num_val)


def _file_name(index: int) -> str:
    return f"{index + 1:06d}.mp4"


def _contents(spec: SyntheticKineticsSpec) -> set[str]:
    """Relative names of all files and folders of a set."""
    names = set()
    for split, count in _splits(spec):
        names |= {f"videos_{split}", f"kinetics_{split}_videos.txt"}
        names |= {f"videos_{split}/{_file_name(index)}" for index in range(count)}
    return names


def _write(root: Path, spec: SyntheticKineticsSpec) -> None:
    """Draw the clips of both splits, the classes in turn, and list them with their labels."""
    for split_index, (split, count) in enumerate(_splits(spec)):
        folder = root / f"videos_{split}"
        folder.mkdir()
        lines = []
        for index in range(count):
            rng = np.random.default_rng((spec.seed, split_index, index))
            label = index % len(CLASSES)
            write_video(folder / _file_name(index), draw_clip(label, spec.image_size, rng))
            lines.append(f"{_file_name(index)} {label}\n")
        (root / f"kinetics_{split}_videos.txt").write_text("".join(lines))


def write_video(path: Path, frames: NDArray[np.uint8]) -> None:
    """Write frames (T, H, W, 3), RGB, as MPEG-4 in an MP4 file.

    Raises:
        OSError: OpenCV cannot write it.
    """
    height, width = frames.shape[1:3]
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), codec, FRAMES_PER_SECOND, (width, height))
    if not writer.isOpened():
        raise OSError(f"OpenCV cannot write {path}: it was built without an MPEG-4 encoder")
    for frame in frames:
        writer.write(frame[..., ::-1])
    writer.release()


# ------------------------------------------------------------------------------------------ clips


@dataclass
class Shape:
    """A shape of a clip.

    Attributes:
        outline: Corners (N, 2) around the origin, in pixels.
        colour: RGB.
        centre: Where it is when it passes the middle of its way: x and y in pixels.
    """

    outline: FloatArray
    colour: FloatArray
    centre: FloatArray


def draw_clip(label: int, image_size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3), RGB, of a class; the longer side has ``image_size`` pixels.

    With the same state of ``rng``, the clips of all classes show one scene and have one frame in
    common; opposite directions have the same frames in opposite order.
    """
    axis, backwards = divmod(label, 2)
    shorter = round(image_size * rng.uniform(3 / 4, 1) / 2) * 2  # codecs want even sides
    shape = (image_size, shorter) if rng.random() < 0.4 else (shorter, image_size)
    background = draw_background(shape, rng)
    angle = rng.uniform(0, 2 * math.pi)
    light = np.array([math.cos(angle), math.sin(angle)], dtype=np.float32)
    shapes = _place_shapes(shape, rng)
    # The frame in which the shapes are at their centres is that of all classes.
    moments = np.arange(NUM_FRAMES) - rng.integers(NUM_FRAMES // 4, 3 * NUM_FRAMES // 4)
    way = shorter * rng.uniform(*WAY)
    offsets = np.outer(moments / (NUM_FRAMES - 1) * way, AXES[axis]).astype(np.float32)
    camera = int(rng.integers(2**32))
    frames = np.stack([_draw_frame(background, shapes, xy, light, camera) for xy in offsets])
    return frames[::-1] if backwards else frames


def _place_shapes(shape: tuple[int, int], rng: np.random.Generator) -> list[Shape]:
    """Shapes whose centres are apart from each other and not close to the border."""
    height, width = shape
    shorter = min(shape)
    margin = 0.25 * shorter
    shapes: list[Shape] = []
    for _ in range(rng.integers(OBJECTS_PER_CLIP[0], OBJECTS_PER_CLIP[1] + 1)):
        size = shorter * math.exp(rng.uniform(*np.log(OBJECT_SIZE)))
        label = int(rng.integers(len(SHAPES)))
        outline = posed_outline(label, size, rng)
        for _ in range(_PLACEMENT_ATTEMPTS):
            centre = rng.uniform(margin, (width - margin, height - margin)).astype(np.float32)
            distances = [math.dist(centre, other.centre) for other in shapes]
            if min(distances, default=math.inf) > 0.35 * shorter:
                shapes.append(Shape(outline, object_colour(label, rng), centre))
                break
    return shapes


def _draw_frame(
    background: FloatArray,
    shapes: list[Shape],
    offset: FloatArray,
    light: FloatArray,
    camera: int,
) -> NDArray[np.uint8]:
    """One frame; ``camera`` is the seed of exposure and grain, which do not change in a clip."""
    canvas = background.copy()
    for shape in shapes:
        outline = shape.outline + shape.centre + offset
        margin = math.ceil(0.15 * float(np.ptp(outline, axis=0).max())) + 2
        window = window_of(outline, canvas.shape, margin)
        if canvas[window].size:  # not beyond the border
            alpha = rasterise(outline, window)
            paint_lit_shape(canvas, outline, window, alpha, shape.colour, light)
    return np.rint(develop(canvas, np.random.default_rng(camera))).astype(np.uint8)
