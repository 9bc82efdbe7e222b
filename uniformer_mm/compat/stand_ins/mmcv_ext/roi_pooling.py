"""RoI max pooling and deformable RoI pooling, in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from .shared import (
    CHUNK,
    add_rows,
    corners,
    float32,
    keep_types,
    neighbours,
    sample,
    sample_positions,
    single,
    to_rows,
)


@keep_types
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

    A bin covers whole pixels. torchvision's `roi_pool` rounds the corners of a RoI first and so
    pools other pixels.

    Args:
        input: (N, C, H, W) features.
        rois: (K, 5) batch index, x1, y1, x2, y2 in image pixels, x2 and y2 inclusive.
        output: (K, C, pooled_height, pooled_width), overwritten; 0 where a bin is empty.
        argmax: Index of the pixel in its flattened map, int32, of the shape of `output`,
            overwritten; -1 where a bin is empty.
        pooled_height: Rows of bins per RoI.
        pooled_width: Columns of bins per RoI.
        spatial_scale: Feature pixels per image pixel.
    """
    channels, height, width = input.shape[1:]
    output.zero_()
    argmax.fill_(-1)
    pixels, rois, scale = to_rows(input), single(rois), float32(spatial_scale)
    first_pixel = rois[:, 0].long() * (height * width)
    left, top, right, bottom = ((rois[:, 1:] + rois.new_tensor([0, 0, 1, 1])) * scale).unbind(1)
    is_roi = (right > left) & (bottom > top)
    y, rows = _bins(top, bottom, pooled_height, height)
    x, columns = _bins(left, right, pooled_width, width)  # first pixels and sizes, (K, bins)
    largest = torch.stack([rows.amax(1), columns.amax(1)], 1) * is_roi[:, None]
    kinds, kind = torch.unique(largest, dim=0, return_inverse=True)
    for number, (most_rows, most_columns) in enumerate(kinds.tolist()):
        if not most_rows * most_columns:
            continue
        members = (kind == number).nonzero()[:, 0]
        in_bin = pooled_height * pooled_width * most_rows * most_columns
        for index in members.split(max(1, CHUNK // max(1, channels * in_bin))):
            row = torch.arange(most_rows, device=rois.device)[:, None]
            column = torch.arange(most_columns, device=rois.device)
            in_rows = row < rows[index][:, :, None, None, None]  # (k, bins, 1, samples, 1)
            in_columns = column < columns[index][:, None, :, None, None]
            pixel = (y[index][:, :, None, None, None] + row) * width + (
                x[index][:, None, :, None, None] + column
            )
            inside = (in_rows & in_columns).flatten(3)
            pixel = torch.where(inside, pixel.flatten(3), 0)  # (k, bins, bins, S)
            values = pixels[first_pixel[index, None, None, None] + pixel]
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


@keep_types
def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Add the gradient of RoI max pooling with respect to its input to `grad_input`.

    Arguments as in `roi_pool_forward`, gradients of the shapes of what they belong to.
    """
    channels, height, width = grad_input.shape[1:]
    grad = single(grad_output) * (argmax != -1)
    rows = grad.new_zeros(grad_input.numel() // max(1, channels), channels)
    first_pixel = (rois[:, 0].long() * (height * width))[:, None, None, None]
    index, values = (
        tensor.permute(0, 2, 3, 1).reshape(-1, channels)
        for tensor in (first_pixel + argmax.long().clamp(min=0), grad)
    )
    rows.scatter_add_(0, index, values)
    add_rows(rows, grad_input)


@keep_types
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

    Deformable RoI pooling (https://arxiv.org/abs/1703.06211) as RoIAlign does it.

    Args:
        input: (N, C, H, W) features.
        rois: (K, 5) batch index, x1, y1, x2, y2 in image pixels.
        offset: (K, 2, pooled_height, pooled_width) displacement of each bin in x and y; empty for
            none.
        output: (K, C, pooled_height, pooled_width), overwritten.
        pooled_height: Rows of bins per RoI.
        pooled_width: Columns of bins per RoI.
        spatial_scale: Feature pixels per image pixel.
        sampling_ratio: Samples per bin and axis, 0 for as many as the bin has pixels.
        gamma: Width or height of a RoI by which an offset of 1 displaces.
    """
    channels, height, width = input.shape[1:]
    output.zero_()
    pixels, rois = to_rows(input), single(rois)
    first_pixel = rois[:, 0].long() * (height * width)
    shift = single(offset) * float32(gamma) if offset.numel() else None
    size = (pooled_height, pooled_width)
    for index, y, x in sample_positions(
        rois, size, float32(spatial_scale), sampling_ratio, True, channels, shift
    ):
        samples = sample(pixels, first_pixel[index], y, x, input.shape[2:])
        output[index] = samples.mean(3).permute(0, 3, 1, 2).to(output.dtype)


@keep_types
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
    """Add the gradients of deformable RoI pooling to `grad_input` and `grad_offset`.

    Arguments as in `deform_roi_pool_forward`, gradients of the shapes of what they belong to.
    """
    channels, height, width = input.shape[1:]
    pixels, rois, grads = to_rows(input), single(rois), single(grad_output)
    rows = torch.zeros_like(pixels)
    first_pixel = rois[:, 0].long() * (height * width)
    shift = single(offset) * float32(gamma) if offset.numel() else None
    extent = (rois[:, 3:] - rois[:, 1:3]) * float32(spatial_scale) * float32(gamma)
    size = (pooled_height, pooled_width)
    for index, y, x in sample_positions(
        rois, size, float32(spatial_scale), sampling_ratio, True, channels, shift
    ):
        grad = (grads[index] / y.shape[-1]).permute(0, 2, 3, 1)[..., None, :]  # one per bin
        values = []
        for pixel, weight in corners(y, x, height, width):
            at = first_pixel[index, None, None, None] + pixel
            values.append((pixels[at] * grad).sum(-1))  # (k, rows, columns, S)
            rows.index_add_(0, at.flatten(), (weight[..., None] * grad).flatten(0, 3))
        if shift is None:
            continue
        # The compiled op extrapolates from the two pixels next to a position, also where these are
        # the border: the slope that it gives there is not that of the forward pass.
        inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
        (top, bottom, _), (left, right, _) = neighbours(y, height), neighbours(x, width)
        top_left, top_right, bottom_left, bottom_right = values
        slope_x = (bottom_right - bottom_left) * (y - top) + (top_right - top_left) * (bottom - y)
        slope_y = (bottom_right - top_right) * (x - left) + (bottom_left - top_left) * (right - x)
        slopes = torch.stack([slope_x, slope_y], 1).mul_(inside[:, None]).sum(-1)
        grad_offset[index] += (slopes * extent[index, :, None, None]).to(grad_offset.dtype)
    add_rows(rows, grad_input)
