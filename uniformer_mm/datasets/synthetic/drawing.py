"""Drawing primitives of the synthetic datasets: shapes, colors, backgrounds and camera effects.

An image is RGB (H, W, 3), float32 from 0 to 255. Coordinates are (x, y) in pixels; pixel i spans i
to i + 1.
"""

from __future__ import annotations

import colorsys
import math

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Rng = np.random.Generator

SHAPES: tuple[str, ...] = ("disc", "square", "triangle", "star", "cross", "heart")

PALETTE: tuple[tuple[int, int, int], ...] = (
    (56, 122, 236),
    (240, 104, 32),
    (54, 178, 82),
    (250, 220, 40),
    (148, 80, 222),
    (234, 58, 112),
)
"""RGB color of each shape."""

SUPERSAMPLING = 4
FRACTIONAL_BITS = 4
"""Of the fixed-point coordinates that OpenCV takes."""


class Polygon:
    """A filled outline in an image.

    Attributes:
        outline: Corners (N, 2).
        window: Rows and columns of the image that hold the outline and a margin for its shadow.
        alpha: Coverage (h, w) of the window's pixels, from 0 to 1; empty outside of the image.
    """

    def __init__(self, outline: FloatArray, image_shape: tuple[int, ...], margin: int) -> None:
        """Rasterize an outline."""
        self.outline = outline
        low = np.floor(outline.min(axis=0)).astype(int) - margin
        high = np.ceil(outline.max(axis=0)).astype(int) + margin
        (left, right), (top, bottom) = (
            np.clip((low[axis], high[axis]), 0, image_shape[1 - axis]).tolist() for axis in (0, 1)
        )
        self.window = slice(top, bottom), slice(left, right)
        self.alpha = self._coverage(outline)

    def draw(self, image: FloatArray, color: FloatArray, light: FloatArray | None = None) -> None:
        """Draw the polygon onto an image, in place.

        Args:
            image: Changed in place.
            color: RGB.
            light: Unit vector (2,) towards the light: shades the polygon and casts a soft shadow to
                the other side. Neither if None.
        """
        region = image[self.window]
        if not self.alpha.size:
            return
        if light is not None:
            center = self.outline.mean(axis=0)
            radius = float(np.abs(self.outline - center).max())
            shadow = self._coverage(self.outline - 0.1 * radius * light)
            region *= 1 - 0.45 * blur(shadow, 0.08 * radius + 0.5)[..., None]
            y, x = (axis.astype(np.float32) for axis in np.ogrid[self.window])
            shade = 1 + 0.16 * ((x - center[0]) * light[0] + (y - center[1]) * light[1]) / radius
            color = (color * shade[..., None]).clip(0, 255)
        region += self.alpha[..., None] * (color - region)

    def _coverage(self, outline: FloatArray) -> FloatArray:
        rows, columns = self.window
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if not height * width:
            return np.zeros((height, width), np.float32)
        fine = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING), dtype=np.uint8)
        points = (outline - (columns.start, rows.start)) * SUPERSAMPLING - 0.5
        cv2.fillPoly(fine, [_fixed_point(points)], (255,), shift=FRACTIONAL_BITS)
        coverage = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
        return coverage.astype(np.float32) / 255


def _fixed_point(points: NDArray[np.floating]) -> NDArray[np.int32]:
    return np.rint(points * 2**FRACTIONAL_BITS).astype(np.int32)


# ------------------------------------------------------------------------------------------ shapes


def _unit_outlines() -> tuple[FloatArray, ...]:
    turn = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    corner = 2 * math.pi / 3 * np.arange(3)
    spike = math.pi / 5 * np.arange(10)
    reach = np.tile((1.0, 0.46), 5)
    arm = np.array([(-0.36, -1), (0.36, -1), (0.36, -0.36)])
    quarter_turn = np.array([(0, 1), (-1, 0)])
    heart_y = -13 * np.cos(turn) + 5 * np.cos(2 * turn) + 2 * np.cos(3 * turn) + np.cos(4 * turn)
    outlines = (
        np.stack((np.cos(turn), np.sin(turn)), axis=1),
        np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]),
        np.stack((np.sin(corner), -np.cos(corner)), axis=1),
        np.stack((reach * np.sin(spike), -reach * np.cos(spike)), axis=1),
        np.concatenate([arm @ np.linalg.matrix_power(quarter_turn, k) for k in range(4)]),
        np.stack((16 * np.sin(turn) ** 3, heart_y), axis=1),
    )
    centered = [outline - (outline.min(axis=0) + outline.max(axis=0)) / 2 for outline in outlines]
    return tuple((points / np.ptp(points, axis=0).max()).astype(np.float32) for points in centered)


UNIT_OUTLINES = _unit_outlines()
"""Outlines (N, 2) of the shapes, centered; the longer side of each bounding box is 1."""


def posed_outline(shape: int, size: float, rng: Rng) -> FloatArray:
    """Outline (N, 2) of a shape around the origin, slightly stretched, rotated by up to 45 deg."""
    angle = rng.uniform(-math.pi / 4, math.pi / 4)
    stretch = size * np.sqrt([ratio := rng.uniform(0.85, 1.15), 1 / ratio])
    rotation = np.array([(math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))])
    return ((UNIT_OUTLINES[shape] * stretch) @ rotation.T).astype(np.float32)


# ------------------------------------------------------------------------------------------ colors


def rgb(hue: float, saturation: float, value: float) -> FloatArray:
    """RGB from 0 to 255; hue in turns, saturation and value from 0 to 1."""
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), dtype=np.float32)


def muted_color(hue: float, value: float, rng: Rng) -> FloatArray:
    """RGB of low saturation."""
    return rgb(hue, rng.uniform(0.05, 0.25), float(np.clip(value, 0.22, 0.97)))


def shape_color(
    shape: int,
    rng: Rng,
    hue_spread: float = 12 / 360,
    saturation: tuple[float, float] = (0.62, 0.92),
    value: tuple[float, float] = (0.76, 1.0),
) -> FloatArray:
    """RGB near the palette's color of a shape; the default spread barely separates the hues."""
    hue, *_ = colorsys.rgb_to_hsv(*PALETTE[shape])
    hue += rng.uniform(-hue_spread, hue_spread)
    return rgb(hue, rng.uniform(*saturation), rng.uniform(*value))


# -------------------------------------------------------------------------------------- background


def draw_background(shape: tuple[int, int], rng: Rng) -> FloatArray:
    """A muted scene (H, W, 3): a gradient, clouds, and clutter that belongs to no class."""
    height, width = shape
    hue, value = rng.random(), rng.uniform(0.35, 0.97)
    near = muted_color(hue, value, rng)
    far = muted_color(hue + rng.uniform(-0.2, 0.2), value + rng.uniform(-0.35, 0.35), rng)
    image = near + (far - near) * _gradient(shape, rng)[..., None]
    for cells, strength in ((3, 10), (9, 5)):
        noise = rng.standard_normal((cells, cells), dtype=np.float32)
        clouds = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        image += rng.uniform(0.2, 1) * strength * clouds[..., None]
    for most, spread, draw in ((4, 0.3, _draw_blob), (5, 0.4, _draw_stroke)):
        for _ in range(rng.integers(0, most)):
            draw(image, muted_color(rng.random(), value + rng.uniform(-spread, spread), rng), rng)
    return image


def _gradient(shape: tuple[int, int], rng: Rng) -> FloatArray:
    """A map (H, W) from 0 to 1: a linear or radial gradient, or a horizon."""
    grid = np.ogrid[: shape[0], : shape[1]]
    y, x = (axis.astype(np.float32) / max(shape) - 0.5 for axis in grid)
    kind = rng.choice(("linear", "radial", "horizon"))
    if kind == "radial":
        distance = np.hypot(x - rng.uniform(-0.4, 0.4), y - rng.uniform(-0.4, 0.4))
        return (distance / 0.9).clip(0, 1)
    if kind == "linear":
        angle = rng.uniform(0, 2 * math.pi)
        return (x * math.cos(angle) + y * math.sin(angle) + 0.5).clip(0, 1)
    height_above = y - rng.uniform(-0.2, 0.2) - rng.uniform(-0.2, 0.2) * x
    return (height_above / rng.uniform(0.02, 0.2) + 0.5).clip(0, 1)


def _draw_blob(image: FloatArray, color: FloatArray, rng: Rng) -> None:
    """Add an out-of-focus spot."""
    height, width = image.shape[:2]
    y, x = np.ogrid[:height, :width]
    center = rng.uniform(0, (width, height))
    radii = rng.uniform(0.06, 0.2, 2) * max(height, width)
    distance = ((x - center[0]) / radii[0]) ** 2 + ((y - center[1]) / radii[1]) ** 2
    alpha = (rng.uniform(0.3, 0.8) * np.exp(-distance)).astype(np.float32)[..., None]
    image += alpha * (color - image)


def _draw_stroke(image: FloatArray, color: FloatArray, rng: Rng) -> None:
    """Add a thin curve from border to border."""
    height, width = image.shape[:2]
    longer = max(height, width)
    angle = rng.uniform(0, 2 * math.pi)
    # Both ends lie outside the image, the middle control point anywhere within.
    ends = rng.uniform(0.1, 0.9, (3, 2)) * (width, height)
    ends[[0, 2]] += np.outer((-1.2, 1.2), (math.cos(angle), math.sin(angle))) * longer
    t = np.linspace(0, 1, 48)[:, None]
    curve = _fixed_point((1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * ends[1] + t**2 * ends[2])
    alpha = np.zeros((height, width), dtype=np.uint8)
    thickness = max(1, round(longer / 256 * rng.uniform(0.6, 2.4)))
    cv2.polylines(alpha, [curve], False, (255,), thickness, cv2.LINE_AA, shift=FRACTIONAL_BITS)
    image += alpha.astype(np.float32)[..., None] / 255 * rng.uniform(0.4, 0.9) * (color - image)


# ------------------------------------------------------------------------------------------ camera


def blur(image: FloatArray, sigma: float) -> FloatArray:
    """Gaussian blur; `sigma` in pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigmaX=sigma).astype(np.float32, copy=False)


def apply_camera(image: FloatArray, rng: Rng) -> FloatArray:
    """Apply exposure, white balance, softness and noise."""
    image = image * (rng.uniform(0.8, 1.12) * rng.uniform(0.96, 1.04, 3)).astype(np.float32)
    image = blur(image, rng.uniform(0.2, 0.6))
    grain = rng.standard_normal(image.shape[:2], dtype=np.float32)
    image += rng.uniform(0.5, 4) * grain[..., None]
    return image.clip(0, 255)


def encode_jpeg(image: FloatArray) -> bytes:
    """Encode an image as a JPEG file."""
    pixels = np.rint(image[..., ::-1]).clip(0, 255).astype(np.uint8)
    _, buffer = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return buffer.tobytes()
