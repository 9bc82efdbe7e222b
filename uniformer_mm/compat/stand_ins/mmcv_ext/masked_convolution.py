"""Gathering and scattering of masked convolution (Region Proposal by Guided Anchoring)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .shared import op


@op
def masked_im2col_forward(
    im: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    col: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """Write what a convolution reads at some pixels into `col`.

    Args:
        im: (1, C, H, W) features.
        mask_h_idx: (M,) rows of the pixels.
        mask_w_idx: (M,) columns of the pixels.
        col: (C * kernel_h * kernel_w, M), overwritten.
        kernel_h: Rows of the kernel.
        kernel_w: Columns of the kernel.
        pad_h: Zero padding at the top and the bottom.
        pad_w: Zero padding on the left and the right.
    """
    bottom, right = max(0, kernel_h - 1 - pad_h), max(0, kernel_w - 1 - pad_w)
    padded = F.pad(im[0], (pad_w, right, pad_h, bottom))
    windows = padded.unfold(1, kernel_h, 1).unfold(2, kernel_w, 1)
    read = windows[:, mask_h_idx, mask_w_idx]  # (C, M, kernel_h, kernel_w)
    col.copy_(read.permute(0, 2, 3, 1).reshape(col.shape))


@op
def masked_col2im_forward(
    col: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    im: Tensor,
    height: int,
    width: int,
    channels: int,
) -> None:
    """Write (channels, M) values at M pixels of `im`, (1, channels, height, width)."""
    im[0][:, mask_h_idx, mask_w_idx] = col.to(im.dtype)
