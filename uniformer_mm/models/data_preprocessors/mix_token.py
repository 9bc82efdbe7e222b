"""MixToken, the augmentation of the token-labelling classifiers; needs mmpretrain."""

from typing import Any

import numpy as np
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.registry import MODELS
from numpy.typing import NDArray

CELL = 4
"""Pixels per side of a token of the first stage, the grid on which images are mixed."""

CELLS_PER_TOKEN = 8
"""First-stage tokens per side of a token of the last stage."""


@MODELS.register_module()
class MixTokenDataPreprocessor(ClsDataPreprocessor):
    """mmpretrain's preprocessor, with MixToken in training ("All Tokens Matter", arXiv 2104.10858).

    One box per batch: each image gets there what the image at the mirrored place of the batch has.
    The data samples tell the head which tokens of the last stage that makes, as `mixed_tokens`:
    first row, row after the last, first column, column after the last.

    The authors mix the tokens after the stem. With a stem of non-overlapping patches, mixing the
    pixels below them is the same; with overlapping ones ("plus") it differs at the box's border.
    """

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """As mmpretrain's; inputs are a batch (B, C, H, W)."""
        data = super().forward(data, training)
        if training:
            images = data["inputs"]
            rows, columns = random_box(images.shape[-2] // CELL, images.shape[-1] // CELL)
            pixels = (..., slice(*(rows * CELL)), slice(*(columns * CELL)))
            images[pixels] = images.flip(0)[pixels]
            box = (*(rows // CELLS_PER_TOKEN).tolist(), *(columns // CELLS_PER_TOKEN).tolist())
            for sample in data["data_samples"]:
                sample.set_metainfo({"mixed_tokens": box})
        return data


def random_box(height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A box of uniform area around a uniform point, cut at the borders (CutMix, 1905.04899).

    Returns:
        First row and row after the last, and the same of the columns.
    """
    size = np.sqrt(1 - np.random.beta(1.0, 1.0))
    bounds = []
    for length in (height, width):
        half = int(length * size) // 2
        centre = np.random.randint(length)
        bounds.append(np.clip((centre - half, centre + half), 0, length))
    return bounds[0], bounds[1]
