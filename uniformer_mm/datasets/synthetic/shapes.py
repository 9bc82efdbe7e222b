"""The shapes that the generated data sets draw: outlines and colours."""

from __future__ import annotations

import colorsys
import math

import numpy as np

from uniformer_mm.datasets.synthetic.canvas import FloatArray, rgb

SHAPES: tuple[str, ...] = ("disc", "square", "triangle", "star", "cross", "heart")

# RGB; the hue of an object varies by up to HUE_SPREAD around that of its class.
PALETTE: tuple[tuple[int, int, int], ...] = (
    (56, 122, 236),
    (240, 104, 32),
    (54, 178, 82),
    (250, 220, 40),
    (148, 80, 222),
    (234, 58, 112),
)

HUE_SPREAD = 12 / 360  # in turns; the nearest two classes stay apart by shape and barely by hue


def _make_outlines() -> tuple[FloatArray, ...]:
    """Outlines (N, 2) of the classes, centred; the longer side of each bounding box is 1."""
    turn = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    corner = 2 * math.pi / 3 * np.arange(3)
    spike = math.pi / 5 * np.arange(10)
    reach = np.tile((1.0, 0.46), 5)
    arm = np.array([(-0.36, -1), (0.36, -1), (0.36, -0.36)])
    quarter_turn = np.array([(0, 1), (-1, 0)])
    outlines = (
        np.stack((np.cos(turn), np.sin(turn)), axis=1),
        np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]),
        np.stack((np.sin(corner), -np.cos(corner)), axis=1),
        np.stack((reach * np.sin(spike), -reach * np.cos(spike)), axis=1),
        np.concatenate([arm @ np.linalg.matrix_power(quarter_turn, k) for k in range(4)]),
        np.stack(
            (
                16 * np.sin(turn) ** 3,
                -13 * np.cos(turn) + 5 * np.cos(2 * turn) + 2 * np.cos(3 * turn) + np.cos(4 * turn),
            ),
            axis=1,
        ),
    )
    centred = [outline - (outline.min(axis=0) + outline.max(axis=0)) / 2 for outline in outlines]
    return tuple((points / np.ptp(points, axis=0).max()).astype(np.float32) for points in centred)


UNIT_OUTLINES = _make_outlines()
"""Outlines (N, 2) of the shapes, centred; the longer side of each bounding box is 1."""


def posed_outline(label: int, size: float, rng: np.random.Generator) -> FloatArray:
    """Outline (N, 2) of a class around the origin: stretched a little, rotated by up to 45 deg."""
    angle = rng.uniform(-math.pi / 4, math.pi / 4)
    stretch = size * np.sqrt([ratio := rng.uniform(0.85, 1.15), 1 / ratio])
    rotation = np.array([(math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))])
    return ((UNIT_OUTLINES[label] * stretch) @ rotation.T).astype(np.float32)


def object_colour(label: int, rng: np.random.Generator) -> FloatArray:
    """RGB near the colour of a shape."""
    hue, *_ = colorsys.rgb_to_hsv(*PALETTE[label])
    hue += rng.uniform(-HUE_SPREAD, HUE_SPREAD)
    return rgb(hue, rng.uniform(0.62, 0.92), rng.uniform(0.76, 1.0))
