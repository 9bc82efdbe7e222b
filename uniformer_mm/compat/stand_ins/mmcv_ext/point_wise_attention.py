"""Masks of point-wise spatial attention (PSANet, ECCV 2018).

Values are moved, not computed. The index of the move has one int64 for each element of the output
of one image, (h_feature * w_feature)**2.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from .shared import gradients, op


@op
def psamask_forward(input: Tensor, output: Tensor, **settings: int) -> None:
    """Write masks around each pixel as maps over the whole image into `output`.

    Args:
        input: (N, h_mask * w_mask, h_feature, w_feature), the mask around each pixel.
        output: (N, h_feature * w_feature, h_feature, w_feature), overwritten. Each element belongs
            to a pixel and to another one in its mask, and is 0 where the mask does not reach.
        settings: See `_spread`.
    """
    output.copy_(_spread(input, **settings))


@op
def psamask_backward(grad_output: Tensor, grad_input: Tensor, **settings: int) -> None:
    """Write the gradient into `grad_input`."""
    spread = functools.partial(_spread, **settings)
    grad_input.copy_(gradients(spread, (grad_input,), grad_output)[0])


def _spread(
    input: Tensor,
    /,
    psa_type: int,
    num_: int,
    h_feature: int,
    w_feature: int,
    h_mask: int,
    w_mask: int,
    half_h_mask: int,
    half_w_mask: int,
) -> Tensor:
    """Spread the masks over the image.

    Args:
        input: (N, h_mask * w_mask, h_feature, w_feature).
        psa_type: 0 to collect: the pixel is last in the output; 1 to distribute: it is first.
        num_: N.
        h_feature: Rows of the features.
        w_feature: Columns of the features.
        h_mask: Rows of a mask.
        w_mask: Columns of a mask.
        half_h_mask: Row of the mask at the pixel.
        half_w_mask: Column of the mask at the pixel.
    """
    pixels = h_feature * w_feature
    y, x = (torch.arange(size, device=input.device) for size in (h_feature, w_feature))
    row = (y[:, None] - y + half_h_mask)[:, None, :, None]  # (y, x of the other, y, x)
    column = (x[:, None] - x + half_w_mask)[:, None, :]
    in_mask = (row >= 0) & (row < h_mask) & (column >= 0) & (column < w_mask)
    in_mask = in_mask.reshape(pixels, pixels)
    index = (row * w_mask + column).reshape(pixels, pixels) * in_mask
    moved = input.flatten(2).gather(1, index.expand(num_, -1, -1)).masked_fill(~in_mask, 0)
    if psa_type:
        moved = moved.transpose(1, 2)
    return moved.reshape(num_, pixels, h_feature, w_feature)
