"""Drawing with numpy and OpenCV, for the generated data sets: shapes, colours, backgrounds.

A canvas is an RGB image (H, W, 3), float32 from 0 to 255. Coordinates are (x, y) in pixels; pixel i
spans i to i + 1.
"""

from __future__ import annotations

import colorsys
import math

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Window = tuple[slice, slice]

_SUPERSAMPLING = 4
_JPEG_QUALITY = 95


def window_of(outline: FloatArray, shape: tuple[int, ...], margin: int) -> Window:
    """Rows and columns of an image that hold the outline and a margin around it."""
    low = np.floor(outline.min(axis=0)).astype(int) - margin
    high = np.ceil(outline.max(axis=0)).astype(int) + margin
    (left, right), (top, bottom) = (
        np.clip((low[axis], high[axis]), 0, shape[1 - axis]).tolist() for axis in (0, 1)
    )
    return slice(top, bottom), slice(left, right)


def rasterise(outline: FloatArray, window: Window) -> FloatArray:
    """Coverage (h, w) in [0, 1] of the window's pixels; pixel i spans i to i + 1."""
    rows, columns = window
    height, width = rows.stop - rows.start, columns.stop - columns.start
    fine = np.zeros((height * _SUPERSAMPLING, width * _SUPERSAMPLING), dtype=np.uint8)
    points = (outline - (columns.start, rows.start)) * _SUPERSAMPLING - 0.5
    fractional_bits = 4
    fixed_point = np.rint(points * 2**fractional_bits).astype(np.int32)
    cv2.fillPoly(fine, [fixed_point], (255,), shift=fractional_bits)
    coverage = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
    return coverage.astype(np.float32) / 255


def blur(image: FloatArray, sigma: float) -> FloatArray:
    """Gaussian blur; `sigma` in pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigmaX=sigma).astype(np.float32, copy=False)


def rgb(hue: float, saturation: float, value: float) -> FloatArray:
    """RGB from 0 to 255; hue in turns, saturation and value from 0 to 1."""
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), dtype=np.float32)


def muted_colour(hue: float, value: float, rng: np.random.Generator) -> FloatArray:
    """RGB of low saturation."""
    return rgb(hue, rng.uniform(0.05, 0.25), float(np.clip(value, 0.22, 0.97)))


def develop(canvas: FloatArray, rng: np.random.Generator) -> FloatArray:
    """What a camera adds: exposure, white balance, softness and noise."""
    canvas = canvas * (rng.uniform(0.8, 1.12) * rng.uniform(0.96, 1.04, 3)).astype(np.float32)
    canvas = blur(canvas, rng.uniform(0.2, 0.6))
    grain = rng.standard_normal(canvas.shape[:2], dtype=np.float32)
    canvas += rng.uniform(0.5, 4) * grain[..., None]
    return canvas.clip(0, 255)


def paint_lit_shape(
    canvas: FloatArray,
    outline: FloatArray,
    window: Window,
    alpha: FloatArray,
    colour: FloatArray,
    light: FloatArray,
) -> None:
    """Paint a shape lit from one side, over its soft shadow on the other.

    Args:
        canvas: Changed in place.
        outline: Corners (N, 2).
        window: Part of the canvas that holds the shape and its shadow.
        alpha: Coverage (h, w) of the window by the shape.
        colour: RGB.
        light: Unit vector (2,) towards the light.
    """
    region = canvas[window]
    centre = outline.mean(axis=0)
    radius = float(np.abs(outline - centre).max())
    shadow = rasterise(outline - 0.1 * radius * light, window)
    shadow = blur(shadow, 0.08 * radius + 0.5)
    region *= 1 - 0.45 * shadow[..., None]
    y, x = np.mgrid[window].astype(np.float32)
    shade = 1 + 0.16 * ((x - centre[0]) * light[0] + (y - centre[1]) * light[1]) / radius
    region += alpha[..., None] * ((colour * shade[..., None]).clip(0, 255) - region)


def encode_jpeg(canvas: FloatArray) -> bytes:
    """The canvas as a JPEG file."""
    pixels = np.rint(canvas[..., ::-1]).clip(0, 255).astype(np.uint8)
    _, buffer = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return buffer.tobytes()


def draw_background(shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """A muted scene (H, W, 3): a gradient, clouds, and clutter that belongs to no class."""
    height, width = shape
    hue, value = rng.random(), rng.uniform(0.35, 0.97)
    near = muted_colour(hue, value, rng)
    far = muted_colour(hue + rng.uniform(-0.2, 0.2), value + rng.uniform(-0.35, 0.35), rng)
    blend = _gradient(shape, rng)[..., None]
    canvas = near + (far - near) * blend
    for cells, strength in ((3, 10), (9, 5)):
        noise = rng.standard_normal((cells, cells), dtype=np.float32)
        clouds = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        canvas += rng.uniform(0.2, 1) * strength * clouds[..., None]
    for _ in range(rng.integers(0, 4)):
        _draw_blob(canvas, muted_colour(rng.random(), value + rng.uniform(-0.3, 0.3), rng), rng)
    for _ in range(rng.integers(0, 5)):
        _draw_stroke(canvas, muted_colour(rng.random(), value + rng.uniform(-0.4, 0.4), rng), rng)
    return canvas


def _gradient(shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """A map (H, W) from 0 to 1: a linear or radial gradient, or a horizon."""
    y, x = (grid / max(shape) - 0.5 for grid in np.mgrid[: shape[0], : shape[1]].astype(np.float32))
    kind = rng.choice(("linear", "radial", "horizon"))
    if kind == "radial":
        distance = np.hypot(x - rng.uniform(-0.4, 0.4), y - rng.uniform(-0.4, 0.4))
        return (distance / 0.9).clip(0, 1)
    if kind == "linear":
        angle = rng.uniform(0, 2 * math.pi)
        return (x * math.cos(angle) + y * math.sin(angle) + 0.5).clip(0, 1)
    height_above = y - rng.uniform(-0.2, 0.2) - rng.uniform(-0.2, 0.2) * x
    return (height_above / rng.uniform(0.02, 0.2) + 0.5).clip(0, 1)


def _draw_blob(canvas: FloatArray, colour: FloatArray, rng: np.random.Generator) -> None:
    """Add an out-of-focus spot, without any edge."""
    height, width = canvas.shape[:2]
    y, x = np.ogrid[:height, :width]
    centre = rng.uniform(0, (width, height))
    radii = rng.uniform(0.06, 0.2, 2) * max(height, width)
    distance = ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2
    alpha = (rng.uniform(0.3, 0.8) * np.exp(-distance)).astype(np.float32)[..., None]
    canvas += alpha * (colour - canvas)


def _draw_stroke(canvas: FloatArray, colour: FloatArray, rng: np.random.Generator) -> None:
    """Add a thin curve from border to border."""
    height, width = canvas.shape[:2]
    angle = rng.uniform(0, 2 * math.pi)
    direction = np.array([math.cos(angle), math.sin(angle)])
    # Both ends lie outside the image, the middle control point anywhere within.
    ends = rng.uniform(0.1, 0.9, (3, 2)) * (width, height)
    ends[[0, 2]] += np.outer((-1.2, 1.2), direction) * max(height, width)
    t = np.linspace(0, 1, 48)[:, None]
    curve = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * ends[1] + t**2 * ends[2]
    alpha = np.zeros((height, width), dtype=np.uint8)
    thickness = max(1, round(max(height, width) / 256 * rng.uniform(0.6, 2.4)))
    cv2.polylines(
        alpha,
        [np.rint(curve * 16).astype(np.int32)],
        False,
        (255,),
        thickness,
        cv2.LINE_AA,
        shift=4,
    )
    canvas += alpha.astype(np.float32)[..., None] / 255 * rng.uniform(0.4, 0.9) * (colour - canvas)
