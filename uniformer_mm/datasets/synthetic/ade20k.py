"""A drawn segmentation set in ADE20K's own layout: small, seeded, honest and quick to learn.

Every scene has stuff (a sky or a wall above a horizon, one or two kinds of ground below) and things
(the shapes of the other sets) upon it. Their colours overlap: the sky, the water and the discs are
blue, and the best guess from a pixel's colour has an mIoU of 0.6; the rest is texture and form. As
in ADE20K, 0 in a label map is whatever belongs to no class: grey stones.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.synthetic.canvas import (
    BoolArray,
    FloatArray,
    develop,
    encode_jpeg,
    paint_lit_shape,
    rasterise,
    rgb,
    window_of,
)
from uniformer_mm.datasets.synthetic.generated import GeneratedSet, SetSpec
from uniformer_mm.datasets.synthetic.shapes import PALETTE as SHAPE_PALETTE
from uniformer_mm.datasets.synthetic.shapes import SHAPES, posed_outline

# Part of the cache key: raise it with every change that alters a pixel or a label.
GENERATOR_VERSION = 5

STUFF: tuple[str, ...] = ("sky", "wall", "grass", "water", "sand")
CLASSES: tuple[str, ...] = (*STUFF, *SHAPES)
"""Class k of the models is the value k + 1 in a label map; 0 there is unlabelled."""

PALETTE: tuple[tuple[int, int, int], ...] = (
    (150, 205, 255),
    (176, 96, 78),
    (130, 160, 60),
    (20, 130, 150),
    (222, 196, 140),
    *SHAPE_PALETTE,
)

UNLABELLED = 0
GROUNDS = ("grass", "water", "sand")
OBJECTS_PER_IMAGE = (3, 7)
OBJECT_SIZE = (1 / 5, 1 / 2)  # of the shorter image side
HUE_SPREAD = 18 / 360  # in turns, around that of the palette
STONES_PER_IMAGE = (0, 3)
STONE_SIZE = (0.12, 0.3)  # of the shorter image side

LabelMap = NDArray[np.uint8]


class SyntheticAde20kSpec(SetSpec):
    """Images in `training` and `validation`, lying or upright, of 5:4 to 8:5."""


def make_synthetic_ade20k(root: Path, spec: SyntheticAde20kSpec) -> Path:
    """Make sure that `root` holds the set of `spec`: reuse it, or draw it anew.

    Returns:
        `root`, with `training` and `validation` in each of `images` (JPEG) and `annotations` (PNG).

    Raises:
        FileExistsError: `root` holds something else, which is never deleted.
    """
    generated = GeneratedSet(
        "uniformer_mm.datasets.synthetic.ade20k",
        GENERATOR_VERSION,
        SyntheticAde20kSpec,
        _contents,
        _write,
    )
    return generated.make(root, spec)


# ---------------------------------------------------------------------------------------- on disk


def _samples(spec: SyntheticAde20kSpec) -> dict[str, list[str]]:
    """Names of the samples of each split, without suffix."""
    return {
        "training": [f"ADE_train_{index + 1:08d}" for index in range(spec.num_train)],
        "validation": [f"ADE_val_{index + 1:08d}" for index in range(spec.num_val)],
    }


def _contents(spec: SyntheticAde20kSpec) -> set[str]:
    """Relative names of all files and folders of a set."""
    contents = {"images", "annotations"}
    for split, names in _samples(spec).items():
        contents |= {f"images/{split}", f"annotations/{split}"}
        contents |= {f"images/{split}/{name}.jpg" for name in names}
        contents |= {f"annotations/{split}/{name}.png" for name in names}
    return contents


def _write(root: Path, spec: SyntheticAde20kSpec) -> None:
    for split_index, (split, names) in enumerate(_samples(spec).items()):
        images, annotations = root / "images" / split, root / "annotations" / split
        images.mkdir(parents=True)
        annotations.mkdir(parents=True)
        for index, name in enumerate(names):
            rng = np.random.default_rng((spec.seed, split_index, index))
            canvas, labels = draw_scene(spec.image_size, rng)
            (images / f"{name}.jpg").write_bytes(encode_jpeg(canvas))
            (annotations / f"{name}.png").write_bytes(cv2.imencode(".png", labels)[1].tobytes())


# ----------------------------------------------------------------------------------------- scenes


def draw_scene(image_size: int, rng: np.random.Generator) -> tuple[FloatArray, LabelMap]:
    """A scene whose longer side has `image_size` pixels.

    Returns:
        Canvas (H, W, 3), float32 from 0 to 255, and label map (H, W) with values from 0 to
        `len(CLASSES)`.
    """
    shorter = round(image_size * rng.uniform(5 / 8, 4 / 5))
    shape = (image_size, shorter) if rng.random() < 0.3 else (shorter, image_size)
    canvas, labels = _draw_stuff(shape, rng)
    angle = rng.uniform(0, 2 * math.pi)
    light = np.array([math.cos(angle), math.sin(angle)], dtype=np.float32)

    def put(value: int, outline: FloatArray, colour: FloatArray, size: float, top: float) -> None:
        """Paint a shape somewhere below `top`, in image heights."""
        margin = 0.3 * size
        low, high = (margin, max(top * shape[0], margin)), (shape[1] - margin, shape[0] - margin)
        outline = outline + rng.uniform(low, high).astype(np.float32)
        window = window_of(outline, shape, margin=math.ceil(0.25 * size))
        alpha = rasterise(outline, window)
        paint_lit_shape(canvas, outline, window, alpha, colour, light)
        labels[window][alpha >= 0.5] = value

    for _ in range(rng.integers(*STONES_PER_IMAGE, endpoint=True)):
        size = shorter * rng.uniform(*STONE_SIZE)
        put(UNLABELLED, _stone(size, rng), rgb(0.1, 0.06, rng.uniform(0.3, 0.7)), size, top=0.6)
    for _ in range(rng.integers(*OBJECTS_PER_IMAGE, endpoint=True)):
        size = shorter * math.exp(rng.uniform(*np.log(OBJECT_SIZE)))
        kind = int(rng.integers(len(SHAPES)))
        put(_value(SHAPES[kind]), posed_outline(kind, size, rng), _paint(kind, rng), size, top=0)
    return develop(canvas, rng), labels


def _value(name: str) -> int:
    """What a class is called in a label map."""
    return CLASSES.index(name) + 1


def _paint(kind: int, rng: np.random.Generator) -> FloatArray:
    """RGB of a shape: of any saturation, and of a hue that its neighbours can have as well."""
    hue, *_ = colorsys.rgb_to_hsv(*SHAPE_PALETTE[kind])
    hue += rng.uniform(-HUE_SPREAD, HUE_SPREAD)
    return rgb(hue, rng.uniform(0.5, 0.95), rng.uniform(0.55, 1.0))


def _stone(size: float, rng: np.random.Generator) -> FloatArray:
    """Outline (N, 2) of an irregular round shape around the origin."""
    turn = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    radius = 1 + sum(
        rng.uniform(0.04, 0.14) * np.sin(waves * turn + rng.uniform(0, 6)) for waves in (2, 3, 5)
    )
    points = np.stack((1.2 * np.cos(turn), 0.8 * np.sin(turn)), axis=1) * radius[:, None]
    return (size / 2 * points).astype(np.float32)


# ------------------------------------------------------------------------------------------ stuff


def _draw_stuff(shape: tuple[int, int], rng: np.random.Generator) -> tuple[FloatArray, LabelMap]:
    """Background: one kind above the horizon, one or two below it."""
    above = "sky" if rng.random() < 0.7 else "wall"
    near, far = rng.choice(GROUNDS, 2, replace=False)
    canvas, labels = TEXTURES[above](shape, rng), np.full(shape, _value(above), np.uint8)
    horizon = _below_curve(shape, rng.uniform(0.3, 0.6), rng)
    _cover(canvas, labels, TEXTURES[far](shape, rng), _value(far), horizon)
    if rng.random() < 0.6:
        shore = _below_curve(shape, rng.uniform(0.65, 0.85), rng) & horizon
        _cover(canvas, labels, TEXTURES[near](shape, rng), _value(near), shore)
    return canvas, labels


def _below_curve(shape: tuple[int, int], level: float, rng: np.random.Generator) -> BoolArray:
    """Mask (H, W) of what is below a gentle curve; `level` in image heights from the top."""
    height, width = shape
    x = np.linspace(-0.5, 0.5, width)
    curve = level + rng.uniform(-0.12, 0.12) * x
    curve += rng.uniform(0, 0.04) * np.sin(rng.uniform(3, 12) * x + rng.uniform(0, 6))
    return np.arange(height)[:, None] + 0.5 > curve * height


def _cover(
    canvas: FloatArray, labels: LabelMap, texture: FloatArray, value: int, mask: BoolArray
) -> None:
    """Put a texture over part of the canvas."""
    canvas[mask] = texture[mask]
    labels[mask] = value


def _sky(shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """Blue, paler or red towards the horizon, with clouds."""
    hue = rng.uniform(0.52, 0.64)
    top = rgb(hue, rng.uniform(0.3, 0.7), rng.uniform(0.55, 0.95))
    bottom = rgb(hue + rng.choice((0, 0.45)), rng.uniform(0.05, 0.3), rng.uniform(0.8, 0.97))
    height = np.linspace(0, 1.6, shape[0], dtype=np.float32).clip(0, 1)[:, None, None]
    clouds = _noise(shape, rng, max(shape) / 14, max(shape) / 30)[..., None]
    cover = ((clouds - rng.uniform(0, 1)) * 0.8).clip(0, 0.85)
    canvas = top + (bottom - top) * height
    return np.ascontiguousarray(canvas + cover * (245 - canvas))


def _wall(shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """Bricks in rows, each with a shade of its own."""
    brick = max(shape) / rng.uniform(18, 30) * np.array([1, 2.2])
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    row = np.floor(y / brick[0] + 100)
    x = x / brick[1] + 100 + 0.5 * (row % 2)
    y = y / brick[0] + 100
    shades = rng.normal(1, 0.07, (256, 256)).astype(np.float32)
    shade = shades[row.astype(int) % 256, np.floor(x).astype(int) % 256][..., None]
    mortar = (np.minimum(y % 1, 1 - y % 1) < 0.07) | (np.minimum(x % 1, 1 - x % 1) < 0.035)
    clay = rgb(rng.uniform(0, 0.13), rng.uniform(0.1, 0.6), rng.uniform(0.4, 0.85))
    joint = clay * rng.uniform(0.6, 0.8) if rng.random() < 0.4 else rgb(0.1, 0.08, 0.85)
    return np.where(mortar[..., None], joint, clay * shade) + 4 * _noise(shape, rng, 1)[..., None]


def _grass(shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """Green blades: noise drawn out vertically."""
    colour = rgb(rng.uniform(0.13, 0.4), rng.uniform(0.3, 0.7), rng.uniform(0.35, 0.8))
    blades = _noise(shape, rng, 0.7, 3) + 0.6 * _noise(shape, rng, max(shape) / 20)
    return colour * (1 + 0.13 * blades[..., None])


def _water(shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """Blue to teal, with waves: noise drawn out horizontally."""
    colour = rgb(rng.uniform(0.4, 0.66), rng.uniform(0.25, 0.75), rng.uniform(0.4, 0.85))
    waves = _noise(shape, rng, 9, 1.2)[..., None]
    return colour * (1 + 0.08 * waves) + 60 * (waves - 1.3).clip(0, 1)


def _sand(shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """Yellow to beige grains and dunes."""
    colour = rgb(rng.uniform(0.06, 0.15), rng.uniform(0.15, 0.6), rng.uniform(0.5, 0.97))
    grains = 0.05 * _noise(shape, rng, 0.6) + 0.06 * _noise(shape, rng, max(shape) / 12)
    return colour * (1 + grains[..., None])


TEXTURES: dict[str, Callable[[tuple[int, int], np.random.Generator], FloatArray]] = {
    "sky": _sky,
    "wall": _wall,
    "grass": _grass,
    "water": _water,
    "sand": _sand,
}


def _noise(
    shape: tuple[int, int], rng: np.random.Generator, width: float, height: float | None = None
) -> FloatArray:
    """Smooth noise (H, W) of mean 0 and deviation 1; grains of so many pixels."""
    grains = rng.standard_normal(shape, dtype=np.float32)
    smooth = cv2.GaussianBlur(grains, (0, 0), sigmaX=width, sigmaY=height or width)
    return ((smooth - smooth.mean()) / smooth.std()).astype(np.float32)
