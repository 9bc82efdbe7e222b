"""Synthetic segmentation dataset in the format of ADE20K.

Every scene has stuff (a sky or a wall above a horizon, one or two kinds of ground below) and things
(the shapes of the other datasets) on it. Their colors overlap: the sky, the water and the discs are
blue, and the best guess from a pixel's color has an mIoU of 0.6; texture and form tell the rest. As
in ADE20K, 0 in a label map means unlabeled: gray stones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.synthetic.dataset import SyntheticDataset
from uniformer_mm.datasets.synthetic.drawing import PALETTE as SHAPE_PALETTE
from uniformer_mm.datasets.synthetic.drawing import (
    SHAPES,
    BoolArray,
    FloatArray,
    Rng,
    encode_jpeg,
    posed_outline,
    rgb,
    shape_color,
)
from uniformer_mm.datasets.synthetic.scene import Scene

STUFF: tuple[str, ...] = ("sky", "wall", "grass", "water", "sand")
CLASSES: tuple[str, ...] = (*STUFF, *SHAPES)
"""Class k of the models has the value k + 1 in a label map."""

PALETTE: tuple[tuple[int, int, int], ...] = (
    (150, 205, 255),
    (176, 96, 78),
    (130, 160, 60),
    (20, 130, 150),
    (222, 196, 140),
    *SHAPE_PALETTE,
)

UNLABELED = 0
GROUNDS = STUFF[2:]
OBJECTS_PER_IMAGE = (3, 7)
OBJECT_SIZE = (1 / 5, 1 / 2)  # of the shorter image side
STONES_PER_IMAGE = (0, 3)
STONE_SIZE = (0.12, 0.3)  # of the shorter image side


class Landscape(Scene):
    """An image and its label map.

    Attributes:
        labels: Label map (H, W), uint8 from 0 to `len(CLASSES)`.
    """

    side_ratio = (5 / 8, 4 / 5)
    portrait_share = 0.3
    labels: NDArray[np.uint8]

    def __init__(self, image_size: int, rng: Rng) -> None:
        """Draw stones and shapes over the stuff."""
        super().__init__(image_size, rng)
        for _ in range(rng.integers(*STONES_PER_IMAGE, endpoint=True)):
            size = self.shorter_side * rng.uniform(*STONE_SIZE)
            outline = _stone(size, rng)
            self._draw(UNLABELED, outline, rgb(0.1, 0.06, rng.uniform(0.3, 0.7)), size, top=0.6)
        for _ in range(rng.integers(*OBJECTS_PER_IMAGE, endpoint=True)):
            size = self.random_size(OBJECT_SIZE)
            shape = int(rng.integers(len(SHAPES)))
            outline = posed_outline(shape, size, rng)
            color = shape_color(shape, rng, 18 / 360, saturation=(0.5, 0.95), value=(0.55, 1.0))
            self._draw(_value(SHAPES[shape]), outline, color, size)
        self.apply_camera()

    def draw_background(self, shape: tuple[int, int]) -> FloatArray:
        """One kind of stuff above the horizon, one or two below it."""
        rng = self.rng
        above = "sky" if rng.random() < 0.7 else "wall"
        near, far = rng.choice(GROUNDS, 2, replace=False)
        image = TEXTURES[above](shape, rng)
        self.labels = np.full(shape, _value(above), np.uint8)

        def cover(name: str, mask: BoolArray) -> None:
            image[mask] = TEXTURES[name](shape, rng)[mask]
            self.labels[mask] = _value(name)

        horizon = _below_curve(shape, rng.uniform(0.3, 0.6), rng)
        cover(far, horizon)
        if rng.random() < 0.6:
            cover(near, _below_curve(shape, rng.uniform(0.65, 0.85), rng) & horizon)
        return image

    def _draw(
        self, value: int, outline: FloatArray, color: FloatArray, size: float, top: float = 0.0
    ) -> None:
        """Draw a shape somewhere below `top`, in image heights."""
        polygon = self.polygon(outline + self.random_point(0.3 * size, top), size)
        polygon.draw(self.image, color, self.light)
        self.labels[polygon.window][polygon.alpha >= 0.5] = value


class SyntheticAde20k(SyntheticDataset):
    """Folders `training` and `validation` in `images` (JPEG) and `annotations` (PNG)."""

    generator = "uniformer_mm.datasets.synthetic.ade20k"
    version = 5
    splits = ("training", "validation")
    prefixes: ClassVar = {"training": "ADE_train", "validation": "ADE_val"}

    def sample_files(self, split: str, index: int) -> list[str]:
        """The image and the label map."""
        name = f"{split}/{self.prefixes[split]}_{index + 1:08d}"
        return [f"images/{name}.jpg", f"annotations/{name}.png"]

    def write_sample(self, paths: list[Path], index: int, rng: Rng) -> None:
        """Write the image and the label map."""
        scene = Landscape(self.image_size, rng)
        paths[0].write_bytes(encode_jpeg(scene.image))
        paths[1].write_bytes(cv2.imencode(".png", scene.labels)[1].tobytes())


def _value(name: str) -> int:
    """Value of a class in a label map."""
    return CLASSES.index(name) + 1


def _stone(size: float, rng: Rng) -> FloatArray:
    """Outline (N, 2) of an irregular round shape around the origin."""
    turn = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    radius = 1 + sum(
        rng.uniform(0.04, 0.14) * np.sin(waves * turn + rng.uniform(0, 6)) for waves in (2, 3, 5)
    )
    points = np.stack((1.2 * np.cos(turn), 0.8 * np.sin(turn)), axis=1) * radius[:, None]
    return (size / 2 * points).astype(np.float32)


def _below_curve(shape: tuple[int, int], level: float, rng: Rng) -> BoolArray:
    """Mask (H, W) of what is below a slight curve; `level` in image heights from the top."""
    height, width = shape
    x = np.linspace(-0.5, 0.5, width)
    curve = level + rng.uniform(-0.12, 0.12) * x
    curve += rng.uniform(0, 0.04) * np.sin(rng.uniform(3, 12) * x + rng.uniform(0, 6))
    return np.arange(height)[:, None] + 0.5 > curve * height


# ---------------------------------------------------------------------------------------- textures


def _sky(shape: tuple[int, int], rng: Rng) -> FloatArray:
    """Blue, paler or red towards the horizon, with clouds."""
    hue = rng.uniform(0.52, 0.64)
    top = rgb(hue, rng.uniform(0.3, 0.7), rng.uniform(0.55, 0.95))
    bottom = rgb(hue + rng.choice((0, 0.45)), rng.uniform(0.05, 0.3), rng.uniform(0.8, 0.97))
    height = np.linspace(0, 1.6, shape[0], dtype=np.float32).clip(0, 1)[:, None, None]
    clouds = _noise(shape, rng, max(shape) / 14, max(shape) / 30)[..., None]
    cover = ((clouds - rng.uniform(0, 1)) * 0.8).clip(0, 0.85)
    image = top + (bottom - top) * height
    return np.ascontiguousarray(image + cover * (245 - image))


def _wall(shape: tuple[int, int], rng: Rng) -> FloatArray:
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


def _grass(shape: tuple[int, int], rng: Rng) -> FloatArray:
    """Green blades: vertically stretched noise."""
    color = rgb(rng.uniform(0.13, 0.4), rng.uniform(0.3, 0.7), rng.uniform(0.35, 0.8))
    blades = _noise(shape, rng, 0.7, 3) + 0.6 * _noise(shape, rng, max(shape) / 20)
    return color * (1 + 0.13 * blades[..., None])


def _water(shape: tuple[int, int], rng: Rng) -> FloatArray:
    """Blue to teal, with waves: horizontally stretched noise."""
    color = rgb(rng.uniform(0.4, 0.66), rng.uniform(0.25, 0.75), rng.uniform(0.4, 0.85))
    waves = _noise(shape, rng, 9, 1.2)[..., None]
    return color * (1 + 0.08 * waves) + 60 * (waves - 1.3).clip(0, 1)


def _sand(shape: tuple[int, int], rng: Rng) -> FloatArray:
    """Yellow to beige grains and dunes."""
    color = rgb(rng.uniform(0.06, 0.15), rng.uniform(0.15, 0.6), rng.uniform(0.5, 0.97))
    grains = 0.05 * _noise(shape, rng, 0.6) + 0.06 * _noise(shape, rng, max(shape) / 12)
    return color * (1 + grains[..., None])


TEXTURES: dict[str, Callable[[tuple[int, int], Rng], FloatArray]] = {
    "sky": _sky,
    "wall": _wall,
    "grass": _grass,
    "water": _water,
    "sand": _sand,
}


def _noise(
    shape: tuple[int, int], rng: Rng, width: float, height: float | None = None
) -> FloatArray:
    """Smooth noise (H, W) of mean 0 and standard deviation 1, with grains of a size in pixels."""
    grains = rng.standard_normal(shape, dtype=np.float32)
    smooth = cv2.GaussianBlur(grains, (0, 0), sigmaX=width, sigmaY=height or width)
    return ((smooth - smooth.mean()) / smooth.std()).astype(np.float32)
