"""Values of tokens, drawn over the input of a model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uniformer_mm.datasets.media import Image, bgr_to_rgb
from uniformer_mm.visualization.drawing import (
    BLACK,
    GAP,
    WHITE,
    above_colour_bar,
    blend,
    side_by_side,
)

PANEL = 480
"""Longer side of a panel in pixels."""

OPACITY = 0.75
LEVELS = 256
"""Steps of a colour bar."""

UNSEEN_BRIGHTNESS = 0.3
MARK = (96, 255, 96)
CELL = 28
"""Side in pixels of one weight of a kernel."""

QUANTILES = (0.02, 0.98)
"""Range of a component's values that the colours span; outliers would leave no contrast."""


@dataclass(frozen=True)
class Layer:
    """Colours for the tokens of a map.

    Attributes:
        title: Its title.
        stride: Frames, and pixels along height and width, per token.
        mark: Indices (t,) y, x of a token to mark.
        colours: (T, H, W, 3), BGR; T is 1 for images; None to draw the mark only.
        opacity: Opacity of the colours, (T, H, W), from 0 to 1; NaN where there is no value and the
            image is dark and grey.
        bar: Colours of a scale below, (N, 3), BGR.
        limits: Values at its ends.
    """

    title: str
    stride: tuple[int, int]
    mark: tuple[int, ...] | None = None
    colours: NDArray[np.uint8] | None = None
    opacity: NDArray[np.float32] | None = None
    bar: NDArray[np.uint8] | None = None
    limits: tuple[str, str] = ("", "")

    def with_heat(self, title: str, values: NDArray[np.float32], unit: str = ".3g") -> "Layer":
        """A heat map with a colour bar: transparent at 0, bright at the maximum.

        Args:
            title: Its title.
            values: (H, W) or (T, H, W); NaN where there is no value.
            unit: Format of the maximum.
        """
        values = values if values.ndim == 3 else values[None]
        largest = max(float(np.nanmax(values)), 1e-12)
        relative = values / largest
        steps = np.linspace(0, 1, LEVELS, dtype=np.float32)
        opacity = OPACITY * np.sqrt(steps)[:, None]
        return replace(
            self,
            title=title,
            colours=_colormap("inferno", np.nan_to_num(relative)),
            opacity=OPACITY * np.sqrt(relative),
            bar=blend(np.full((LEVELS, 3), 200, np.uint8), _colormap("inferno", steps), opacity),
            limits=("0", format(largest, unit)),
        )

    def with_colours(self, title: str, colours: NDArray[np.uint8]) -> "Layer":
        """Colours (H, W, 3) or (T, H, W, 3), BGR."""
        colours = colours if colours.ndim == 4 else colours[None]
        opacity = np.full(colours.shape[:-1], OPACITY, np.float32)
        return replace(self, title=title, colours=colours, opacity=opacity)


class PrincipalComponents:
    """The first three principal components of feature maps as red, green and blue.

    Components and ranges are those of one map, so that colours have the same meaning in all frames
    of a video. The sign of a component is that of its largest loading.

    Args:
        features: The map, (*grid, C).
    """

    def __init__(self, features: Tensor) -> None:
        flat = features.flatten(0, -2).double().cpu()
        self._mean = flat.mean(0)
        centred = flat - self._mean
        _, vectors = torch.linalg.eigh(centred.T @ centred)  # in ascending order
        components = vectors[:, -3:].flip(1)
        largest = components.gather(0, components.abs().argmax(0, keepdim=True))
        self._components = components * largest.sign()
        projected = centred @ self._components
        self._low, self._high = projected.quantile(torch.tensor(QUANTILES).double(), dim=0)

    def __call__(self, features: Tensor) -> Image:
        """Colours (*grid, 3), uint8, BGR, of a map (*grid, C)."""
        projected = (features.double().cpu() - self._mean) @ self._components
        span = (self._high - self._low).clamp_min(1e-12)
        colours = ((projected - self._low) / span).clamp(0, 1) * 255
        return np.ascontiguousarray(colours.round().numpy().astype(np.uint8)[..., ::-1])


def input_frames(x: Tensor, preprocessor: Any, channels: str) -> NDArray[np.uint8]:
    """The images of a backbone's input without normalization: (T, H, W, 3), BGR.

    Args:
        x: (3, H, W) or (3, T, H, W), normalized.
        preprocessor: Data preprocessor of the model.
        channels: Order of the channels, 'RGB' or 'BGR'.
    """
    frames = x.float().cpu()
    if getattr(preprocessor, "_enable_normalize", False):
        shape = (-1,) + (1,) * (x.dim() - 1)
        mean, std = (getattr(preprocessor, name).cpu().view(shape) for name in ("mean", "std"))
        frames = frames * std + mean
    pixels = frames.round().clamp(0, 255).movedim(0, -1).numpy().astype(np.uint8)
    pixels = bgr_to_rgb(pixels) if channels == "RGB" else pixels
    return pixels if pixels.ndim == 4 else pixels[None]


def draw_panel(image: Image, layer: Layer, frame: int = 0, size: int = PANEL) -> Image:
    """An image, frame of a clip by its index, with a layer over it, resized to a longer side."""
    factor = size / max(image.shape[:2])
    height, width = (max(round(side * factor), 1) for side in image.shape[:2])
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    panel: Image = cv2.resize(image, (width, height), interpolation=method).astype(np.uint8)
    side = layer.stride[1] * factor
    time = frame // layer.stride[0]
    if layer.colours is not None and layer.opacity is not None:
        index = min(time, len(layer.opacity) - 1)
        panel = _blend(panel, layer.colours[index], layer.opacity[index], side)
    if layer.mark is not None and (len(layer.mark) == 2 or layer.mark[0] == time):
        y, x = layer.mark[-2:]
        left, right, top, bottom = (round(at * side) for at in (x, x + 1, y, y + 1))
        for colour, thickness in ((BLACK, 4), (MARK, 2)):
            cv2.rectangle(panel, (left, top), (right, bottom), colour, thickness)
    return panel if layer.bar is None else above_colour_bar(panel, layer.bar, layer.limits)


def _blend(
    panel: Image, colours: NDArray[np.uint8], opacity: NDArray[np.float32], side: float
) -> Image:
    """A panel with the colours of tokens over it, whose sides have so many pixels."""
    tokens = np.ix_(*(((np.arange(n) + 0.5) // side).astype(int) for n in panel.shape[:2]))
    # Pixels after the last complete token belong to no token.
    beyond = [(0, int(index.max()) + 1) for index in tokens]
    opacity = np.pad(opacity, beyond, constant_values=np.nan)[tokens][..., None]
    pixels = np.pad(colours, [*beyond, (0, 0)])[tokens].astype(np.float32)
    seen = ~np.isnan(opacity)
    grey = cv2.cvtColor(panel, cv2.COLOR_BGR2GRAY)[..., None] * UNSEEN_BRIGHTNESS
    blended = panel + np.nan_to_num(opacity) * (pixels - panel)
    drawn = np.rint(np.where(seen, blended, grey)).astype(np.uint8)
    borders, _ = cv2.findContours(seen.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(drawn, borders, -1, WHITE, 1)
    return drawn


def affinity_kernels(block: Any, strongest: int) -> Mapping[str, NDArray[np.float32]]:
    """Weights of neighbours in the local relation aggregator (arXiv 2201.09450, Section 3.3).

    Args:
        block: A `LocalBlock`.
        strongest: Number of single channels, those of the largest norm.

    Returns:
        Kernels (5, 5) or (5, 5, 5), time first, by name: the mean of the absolute values over the
        channels, and single channels.
    """
    kernels = block.attn.weight.detach().float().cpu().numpy()[:, 0]
    norms = np.square(kernels).sum(tuple(range(1, kernels.ndim)))
    chosen = np.argsort(-norms, kind="stable")[:strongest]
    named = {f"channel {channel}": kernels[channel] for channel in chosen}
    return {"mean of |weights|": np.abs(kernels).mean(0), **named}


def draw_kernels(
    kernels: Mapping[str, Mapping[str, NDArray[np.float32]]], columns: int | None = None
) -> Image:
    """Kernels (5, 5) or (5, 5, 5) of each block with their colour bars, BGR.

    Means of absolute values are bright where they are large; in single channels red is positive and
    blue negative. The five steps of a kernel over time are side by side.

    Args:
        kernels: By name of the block: what `affinity_kernels` returns.
        columns: Kernels per row; by default a row for each block.
    """
    panels = []
    for block, named in kernels.items():
        for name, kernel in named.items():
            largest = max(float(np.abs(kernel).max()), 1e-12)
            relative, low, colours = kernel / largest, "0", "inferno"
            if "|" not in name:
                relative, low, colours = (relative + 1) / 2, f"-{largest:.2g}", "bwr"
            drawn = _colormap(colours, relative)
            steps = drawn if drawn.ndim == 4 else drawn[None]
            cells = np.pad(
                steps.repeat(CELL, axis=1).repeat(CELL, axis=2),
                ((0, 0), (0, 0), (0, GAP), (0, 0)),
                constant_values=255,
            )
            image = np.concatenate(list(cells), 1)[:, :-GAP]
            bar = _colormap(colours, np.linspace(0, 1, LEVELS))
            image = above_colour_bar(image, bar, (low, f"{largest:.2g}"))
            panels.append((f"{block}: {name}", image))
    return side_by_side(panels, columns or len(panels) // len(kernels))


def _colormap(name: str, values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colours (..., 3), BGR, of values from 0 to 1."""
    return np.ascontiguousarray(matplotlib.colormaps[name](values, bytes=True)[..., 2::-1])
