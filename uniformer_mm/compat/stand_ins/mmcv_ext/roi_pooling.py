"""RoI max pooling and deformable RoI pooling, in plain PyTorch.

`input` is (N, C, H, W), `rois` (K, 5) batch index, x1, y1, x2, y2 in image pixels, and `output` (K,
C, pooled_height, pooled_width). `spatial_scale` is in feature pixels per image pixel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .shared import (
    add_at_pixels,
    add_rows,
    corners,
    equal_sizes,
    first_rows,
    float32,
    is_inside,
    neighbors,
    op,
    sample,
    sample_positions,
    single,
    to_rows,
)


@op
def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write the largest value of each bin of each RoI (Fast R-CNN) into `output`.

    A bin covers whole pixels; x2 and y2 are inclusive. torchvision's `roi_pool` rounds the corners
    of a RoI first and so pools other pixels. `argmax`, int32 of the shape of `output`, is
    overwritten with the index of the pixel in its flattened map. In an empty bin, the value is 0
    and the index -1.
    """
    channels, height, width = input.shape[1:]
    output.zero_()
    argmax.fill_(-1)
    pixels, rois, scale = to_rows(input), single(rois), float32(spatial_scale)
    first = first_rows(rois, (height, width))
    left, top, right, bottom = ((rois[:, 1:] + rois.new_tensor([0, 0, 1, 1])) * scale).unbind(1)
    is_roi = (right > left) & (bottom > top)
    y, rows = _bins(top, bottom, pooled_height, height)
    x, columns = _bins(left, right, pooled_width, width)  # first pixels and sizes, (K, bins)
    largest = torch.stack([columns.amax(1), rows.amax(1)], 1) * is_roi[:, None]
    for index, most_columns, most_rows in equal_sizes(
        largest, channels * pooled_height * pooled_width
    ):
        row = torch.arange(most_rows, device=rois.device)[:, None]
        column = torch.arange(most_columns, device=rois.device)
        in_rows = row < rows[index][:, :, None, None, None]  # (k, bins, 1, samples, 1)
        in_columns = column < columns[index][:, None, :, None, None]
        pixel = (y[index][:, :, None, None, None] + row) * width + (
            x[index][:, None, :, None, None] + column
        )
        inside = (in_rows & in_columns).flatten(3)
        pixel = torch.where(inside, pixel.flatten(3), 0)  # (k, bins, bins, S)
        values = pixels[first[index] + pixel]
        best_value, best = values.masked_fill_(~inside[..., None], -torch.inf).max(dim=3)
        is_empty = ~inside.any(3, keepdim=True)
        best_value = best_value.masked_fill_(is_empty, 0)
        best_pixel = pixel.gather(3, best).masked_fill_(is_empty, -1)
        output[index] = best_value.permute(0, 3, 1, 2).to(output.dtype)
        argmax[index] = best_pixel.permute(0, 3, 1, 2).to(argmax.dtype)


def _bins(start: Tensor, end: Tensor, number: int, size: int) -> tuple[Tensor, Tensor]:
    """First pixel and number of pixels, (K, number), of the bins between (K,) two borders."""
    step = ((end - start) / number)[:, None]
    bin_number = torch.arange(number, dtype=start.dtype, device=start.device)
    # Borders are rounded to single precision, as by C's floorf and ceilf.
    first = (bin_number * step + start[:, None]).float().floor().long().clamp(0, size)
    last = ((bin_number + 1) * step + start[:, None]).float().ceil().long().clamp(0, size)
    return first, (last - first).clamp(min=0)


@op
def roi_pool_backward(
    grad_output: Tensor, rois: Tensor, argmax: Tensor, grad_input: Tensor, **settings: Any
) -> None:
    """Add the gradient to `grad_input`."""
    grad = single(grad_output) * (argmax != -1)
    add_at_pixels(grad_input, rois, [(argmax.clamp(min=0), grad)])


@op
def deform_roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Write the mean of the samples of each displaced bin into `output`.

    Deformable RoI pooling (https://arxiv.org/abs/1703.06211) with the samples of RoIAlign. `offset`
    is the (K, 2, pooled_height, pooled_width) displacement of each bin in x and y, in RoI widths
    and heights times `gamma`, or empty.
    """
    output.zero_()
    rows, size = to_rows(input), input.shape[2:]
    first = first_rows(rois, size)
    how = (spatial_scale, sampling_ratio, True, _shift(offset, gamma))
    for index, y, x in sample_positions(rois, output.shape, *how):
        mean = sample(rows, first[index], y, x, size).mean(3)
        output[index] = mean.permute(0, 3, 1, 2).to(output.dtype)


@op
def deform_roi_pool_backward(
    grad_output: Tensor,
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Add the gradients to `grad_input` and `grad_offset`."""
    pixels, rois, grads, size = to_rows(input), single(rois), single(grad_output), input.shape[2:]
    rows, first = torch.zeros_like(pixels), first_rows(rois, size)
    extent = (rois[:, 3:] - rois[:, 1:3]) * float32(spatial_scale) * float32(gamma)
    how = (spatial_scale, sampling_ratio, True, _shift(offset, gamma))
    for index, y, x in sample_positions(rois, grads.shape, *how):
        grad = (grads[index] / y.shape[-1]).permute(0, 2, 3, 1)[..., None, :]  # one per bin
        values = []
        for pixel, weight in corners(y, x, size):
            at = first[index] + pixel
            values.append((pixels[at] * grad).sum(-1))  # (k, rows, columns, S)
            rows.index_add_(0, at.flatten(), (weight[..., None] * grad).flatten(0, 3))
        if not offset.numel():
            continue
        # The compiled op extrapolates from the two pixels next to a position, also where these are
        # the border: the slope that it gives there is not that of the forward pass.
        (top, bottom, _), (left, right, _) = neighbors(y, size[0]), neighbors(x, size[1])
        top_left, top_right, bottom_left, bottom_right = values
        slope_x = (bottom_right - bottom_left) * (y - top) + (top_right - top_left) * (bottom - y)
        slope_y = (bottom_right - top_right) * (x - left) + (bottom_left - top_left) * (right - x)
        slopes = torch.stack([slope_x, slope_y], 1) * is_inside(y, x, size)[:, None]
        grad_offset[index] += (slopes.sum(-1) * extent[index, :, None, None]).to(grad_offset.dtype)
    add_rows(rows, grad_input)


def _shift(offset: Tensor, gamma: float) -> Tensor | None:
    return single(offset) * float32(gamma) if offset.numel() else None
