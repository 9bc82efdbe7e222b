"""Masks of point-wise spatial attention (PSANet, ECCV 2018), in plain torch.

Values are moved, not computed. The index of the move has one int64 for each element of the output
of one image, height**2 * width**2.
"""

from __future__ import annotations

import torch
from torch import Tensor


def psamask_forward(
    input: Tensor,
    output: Tensor,
    psa_type: int,
    num_: int,
    h_feature: int,
    w_feature: int,
    h_mask: int,
    w_mask: int,
    half_h_mask: int,
    half_w_mask: int,
) -> None:
    """Write masks around each pixel as maps over the whole image into `output`.

    Args:
        input: (N, h_mask * w_mask, h_feature, w_feature): of each pixel, the mask around it.
        output: (N, h_feature * w_feature, h_feature, w_feature), overwritten. An element belongs
            to a pixel and to another one of its mask; 0 where the mask does not reach.
        psa_type: 0 to collect: the pixel comes last in `output`; 1 to distribute: it comes first.
        num_: N.
        h_feature: Rows of the features.
        w_feature: Columns of the features.
        h_mask: Rows of a mask.
        w_mask: Columns of a mask.
        half_h_mask: Row of the mask that lies on the pixel.
        half_w_mask: Column of the mask that lies on the pixel.
    """
    device = input.device
    row, row_in_mask = _differences(h_feature, h_feature, half_h_mask, h_mask, device)
    column, column_in_mask = _differences(w_feature, w_feature, half_w_mask, w_mask, device)
    index = row[:, None, :, None] * w_mask + column[:, None, :]  # (y, x of the other, y, x)
    in_mask = row_in_mask[:, None, :, None] & column_in_mask[:, None, :]
    moved = _gather(input.flatten(2), index, in_mask)
    output.view_as(moved).copy_(moved if psa_type == 0 else moved.transpose(1, 2))


def psamask_backward(
    grad_output: Tensor,
    grad_input: Tensor,
    psa_type: int,
    num_: int,
    h_feature: int,
    w_feature: int,
    h_mask: int,
    w_mask: int,
    half_h_mask: int,
    half_w_mask: int,
) -> None:
    """Write the gradient of `psamask_forward` with respect to its input into `grad_input`."""
    device = grad_output.device
    row, is_row = _differences(h_mask, h_feature, half_h_mask, h_feature, device, sign=1)
    column, is_column = _differences(w_mask, w_feature, half_w_mask, w_feature, device, sign=1)
    index = row[:, None, :, None] * w_feature + column[:, None, :]  # (y, x in the mask, y, x)
    grad = grad_output.flatten(2)
    if psa_type != 0:
        grad = grad.transpose(1, 2)
    moved = _gather(grad, index, is_row[:, None, :, None] & is_column[:, None, :])
    grad_input.view_as(moved).copy_(moved)


def _differences(
    others: int, pixels: int, half: int, size: int, device: torch.device, sign: int = -1
) -> tuple[Tensor, Tensor]:
    """(others, pixels) index `other - pixel + half` or, with sign 1, `other + pixel - half`.

    Returns:
        The index, 0 where it is outside of 0 to size - 1, and whether it is inside.
    """
    other = torch.arange(others, device=device)[:, None]
    index = other + sign * (torch.arange(pixels, device=device) - half)
    inside = (index >= 0) & (index < size)
    return index * inside, inside


def _gather(source: Tensor, index: Tensor, inside: Tensor) -> Tensor:
    """`source` (N, A, P) at an index (a, a, p, p) of A, 0 outside, as (N, a * a, P)."""
    index = index.flatten(2).flatten(0, 1).expand(len(source), -1, -1)
    return source.gather(1, index).masked_fill_(~inside.flatten(2).flatten(0, 1), 0)
