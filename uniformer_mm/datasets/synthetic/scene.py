"""The image that every synthetic dataset starts from: its size, background, light and camera."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from uniformer_mm.datasets.synthetic.drawing import (
    FloatArray,
    Polygon,
    Rng,
    apply_camera,
    draw_background,
)


class Scene:
    """An image that is being drawn.

    Attributes:
        image: RGB (H, W, 3), float32 from 0 to 255.
        shorter_side: In pixels.
        light: Unit vector (2,) towards the light.
    """

    side_ratio: ClassVar = (3 / 4, 1.0)
    """Range of the shorter side divided by the longer side."""

    side_step: ClassVar = 1
    """The shorter side is a multiple of it."""

    portrait_share: ClassVar = 0.4
    """Share of the images that are higher than wide."""

    light_angles: ClassVar = (0.0, 360.0)
    """Range of the light's direction in degrees."""

    def __init__(self, image_size: int, rng: Rng) -> None:
        """Draw the background; the longer side has `image_size` pixels."""
        self.rng = rng
        step = self.side_step
        shorter = round(image_size * rng.uniform(*self.side_ratio) / step) * step
        self.shorter_side = shorter
        portrait = rng.random() < self.portrait_share
        self.image = self.draw_background(
            (image_size, shorter) if portrait else (shorter, image_size)
        )
        first, last = self.light_angles
        angle = math.radians(first + (last - first) * rng.random())
        self.light = np.array([math.cos(angle), math.sin(angle)], dtype=np.float32)

    def draw_background(self, shape: tuple[int, int]) -> FloatArray:
        """Draw what is behind the objects, (H, W, 3)."""
        return draw_background(shape, self.rng)

    def random_point(self, margin: float, top: float = 0.0) -> FloatArray:
        """A point (x, y) at least `margin` pixels from the border, below `top` image heights."""
        height, width = self.image.shape[:2]
        low, high = (margin, max(top * height, margin)), (width - margin, height - margin)
        return self.rng.uniform(low, high).astype(np.float32)

    def random_size(self, sizes: tuple[float, float]) -> float:
        """A size in pixels from a range in shorter sides, uniform in its logarithm."""
        return self.shorter_side * math.exp(self.rng.uniform(*np.log(sizes)))

    def polygon(self, outline: FloatArray, size: float) -> Polygon:
        """An outline of about `size` pixels, with room for its shadow."""
        return Polygon(outline, self.image.shape, margin=math.ceil(0.25 * size))

    def apply_camera(self) -> None:
        """Finish the image."""
        self.image = apply_camera(self.image, self.rng)
