"""Where in a source the pixels come from that a model sees."""

import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.media import Image
from uniformer_mm.errors import UserError

LEVELS = (32, 223)
"""Grey levels of the probe: interpolation and rounding stay within what 8 bits hold."""

LEAST_PIXELS = 9


def make_probe(size: tuple[int, ...]) -> Image:
    """A picture whose levels rise along x (blue and red) and along y (green).

    Sent through a pipeline, it tells where pixels come from, after resizing, cropping, padding and
    warping alike.

    Args:
        size: Height and width.
    """
    rows, columns = (np.linspace(*LEVELS, side) for side in size)
    probe = np.empty((*size, 3))
    probe[..., ::2] = columns[:, None]
    probe[..., 1] = rows[:, None]
    return probe.round().astype(np.uint8)


def read_probe(seen: Image, size: tuple[int, ...]) -> NDArray[np.float64]:
    """The affine map (2, 3) from pixels x, y, 1 of what a model sees to those of the source.

    Args:
        seen: What has become of the probe, (H, W, 3).
        size: Height and width of the source.

    Raises:
        UserError: There is no such map.
    """
    levels = seen.astype(np.float64)
    step = (np.array(size[::-1]) - 1) / (LEVELS[1] - LEVELS[0])
    # Padding is darker, or has other levels of blue than of red.
    grey = np.abs(levels[..., 0] - levels[..., 2]) < 2
    rows, columns = np.nonzero(grey & (levels[..., :2].min(-1) >= LEVELS[0]))
    pixels = np.stack([columns, rows, np.ones_like(rows)], axis=1).astype(np.float64)
    places = (levels[rows, columns, :2] - LEVELS[0]) * step
    kept = np.ones(len(pixels), np.bool_)
    solution = np.zeros((3, 2))
    # Borders, where the probe is mixed with padding, do not fit and are left out step by step.
    for _ in range(3):
        if kept.sum() < LEAST_PIXELS:
            break
        solution = np.linalg.lstsq(pixels[kept], places[kept], rcond=None)[0]
        kept = np.abs(places - pixels @ solution).max(axis=1) < 2 * max(step.max(), 1)
    if kept.sum() < max(LEAST_PIXELS, len(pixels) // 2):
        raise UserError(
            "the point cannot be found in what the model sees: its test pipeline does more than to"
            " resize, crop, pad or warp. Without a point, the centre is asked"
        )
    return solution.T
