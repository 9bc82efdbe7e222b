"""Values of tokens over what the model saw."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from uniformer_mm.datasets.media import Image, swapped
from uniformer_mm.visualization.drawing import BLACK, GAP, WHITE, side_by_side

PANEL = 480
"""Longer side of a picture, in pixels."""

COLUMNS = 5
OPACITY = 0.75
UNSEEN_BRIGHTNESS = 0.3
MARK = (96, 255, 96)
CELL = 28
"""Side of a kernel's weight, in pixels."""


@dataclass(frozen=True)
class Layer:
    """Something about the tokens of a map.

    Attributes:
        title: What it is.
        colours: (T, H, W, 3), BGR; one T for images.
        opacity: Of the colours, (T, H, W), from 0 to 1; NaN where there is nothing, and the image
            is shown dark and grey.
    """

    title: str
    colours: NDArray[np.uint8]
    opacity: NDArray[np.float32]


def heat_layer(title: str, values: NDArray[np.float32]) -> Layer:
    """Values from 0 (where the image shows) to their maximum (bright); NaN where there are none.

    Args:
        title: What they are.
        values: (H, W) or (T, H, W).
    """
    values = values if values.ndim == 3 else values[None]
    relative = values / max(float(np.nanmax(values)), 1e-12)
    return Layer(title, _heat(np.nan_to_num(relative)), OPACITY * np.sqrt(relative))


def colour_layer(title: str, colours: NDArray[np.uint8]) -> Layer:
    """Colours (H, W, 3) or (T, H, W, 3), BGR."""
    colours = colours if colours.ndim == 4 else colours[None]
    return Layer(title, colours, np.full(colours.shape[:-1], OPACITY, np.float32))


def seen_frames(x: Tensor, preprocessor: Any, channels: str) -> NDArray[np.uint8]:
    """What a backbone's input shows: (T, H, W, 3), BGR; one T for images.

    Args:
        x: (3, H, W) or (3, T, H, W), normalised.
        preprocessor: Of the model, which has normalised it.
        channels: Their order, 'RGB' or 'BGR'.
    """
    frames = x.float().cpu()
    if getattr(preprocessor, "_enable_normalize", False):
        shape = (-1,) + (1,) * (x.dim() - 1)
        mean, std = (getattr(preprocessor, name).cpu().view(shape) for name in ("mean", "std"))
        frames = frames * std + mean
    pixels = frames.round().clamp(0, 255).movedim(0, -1).numpy().astype(np.uint8)
    pixels = swapped(pixels) if channels == "RGB" else pixels
    return pixels if pixels.ndim == 4 else pixels[None]


def paint(
    image: Image, layer: Layer, frame: int, stride: tuple[int, int], mark: tuple[int, ...] | None
) -> Image:
    """A layer over a frame, enlarged or shrunken to `PANEL` pixels.

    Args:
        image: What the model saw.
        layer: Its tokens.
        frame: Number of the frame.
        stride: Frames, and pixels along height and width, per token.
        mark: Place of a token to mark, (t,) y, x.
    """
    panel = _fit(image)
    factor = panel.shape[0] / image.shape[0]
    rows, columns = (
        ((np.arange(side) + 0.5) / factor // stride[1]).astype(int) for side in panel.shape[:2]
    )
    time = min(frame // stride[0], len(layer.opacity) - 1)
    height, width = layer.opacity.shape[1:]
    at = np.ix_(rows.clip(max=height), columns.clip(max=width))
    # Rows and columns of pixels that fill no token are seen by none.
    opacity = np.pad(layer.opacity[time], ((0, 1), (0, 1)), constant_values=np.nan)[at][..., None]
    colours = np.pad(layer.colours[time], ((0, 1), (0, 1), (0, 0)))[at]
    seen = ~np.isnan(opacity)
    grey = cv2.cvtColor(panel, cv2.COLOR_BGR2GRAY)[..., None] * UNSEEN_BRIGHTNESS
    blended = panel + np.nan_to_num(opacity) * (colours.astype(np.float32) - panel)
    painted = np.rint(np.where(seen, blended, grey)).astype(np.uint8)
    borders, _ = cv2.findContours(seen.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(painted, borders, -1, WHITE, 1)
    return _marked(painted, factor, frame, stride, mark)


def overview(
    image: Image, frame: int, stride: tuple[int, int], mark: tuple[int, ...] | None
) -> Image:
    """A frame, enlarged or shrunken to `PANEL` pixels; arguments are those of `paint`."""
    panel = _fit(image)
    return _marked(panel, panel.shape[0] / image.shape[0], frame, stride, mark)


def _marked(
    panel: Image,
    factor: float,
    frame: int,
    stride: tuple[int, int],
    mark: tuple[int, ...] | None,
) -> Image:
    """A panel with a frame around a token, if the token is of this frame."""
    if mark is not None and (len(mark) == 2 or mark[0] == frame // stride[0]):
        y, x = mark[-2:]
        side = stride[1] * factor
        left, right, top, bottom = (round(at * side) for at in (x, x + 1, y, y + 1))
        for colour, thickness in ((BLACK, 4), (MARK, 2)):
            cv2.rectangle(panel, (left, top), (right, bottom), colour, thickness)
    return panel


def _fit(image: Image) -> Image:
    """An image whose longer side has `PANEL` pixels."""
    factor = PANEL / max(image.shape[:2])
    size = (max(round(image.shape[1] * factor), 1), max(round(image.shape[0] * factor), 1))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, size, interpolation=method).astype(np.uint8, copy=False)


def kernel_picture(kernels: Mapping[str, Mapping[str, NDArray[np.float32]]]) -> Image:
    """A row of kernels (5, 5) or (5, 5, 5) for each block, BGR.

    The mean of absolute values is bright where it is large; in single channels red is positive and
    blue negative. Of a kernel over time the five steps stand side by side.

    Args:
        kernels: By the name of the block: by their own names.
    """
    panels = []
    for block, named in kernels.items():
        for name, kernel in named.items():
            largest = max(float(np.abs(kernel).max()), 1e-12)
            unsigned = kernel.min() >= 0 and "|" in name
            relative = kernel / largest
            colours = _heat(relative) if unsigned else _diverging(relative)
            steps = colours if colours.ndim == 4 else colours[None]
            title = f"{block}: {name}, up to {largest:.2g}"
            panels.append((title, _steps_in_a_row(steps)))
    return side_by_side(panels, len(panels) // len(kernels))


def _steps_in_a_row(steps: NDArray[np.uint8]) -> Image:
    enlarged = steps.repeat(CELL, axis=1).repeat(CELL, axis=2)
    return np.concatenate(list(np.pad(enlarged, ((0, 0), (0, 0), (0, GAP), (0, 0)))), axis=1)


def _heat(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colours (..., 3), BGR, of values from 0 to 1."""
    levels = np.rint(values * 255).astype(np.uint8)
    flat = cv2.applyColorMap(levels.reshape(-1, 1), cv2.COLORMAP_INFERNO)
    return flat.reshape(*values.shape, 3).astype(np.uint8, copy=False)


def _diverging(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Blue at -1, white at 0, red at 1; BGR."""
    fade = np.rint(255 * (1 - np.abs(values)))
    full = np.full_like(fade, 255)
    bgr = (np.where(values > 0, fade, full), fade, np.where(values > 0, full, fade))
    return np.stack(bgr, axis=-1).astype(np.uint8)
