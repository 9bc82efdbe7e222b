"""RoIAlign: the mean of samples by torchvision, their maximum in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from .shared import (
    add_rows,
    corners,
    float32,
    keep_types,
    no_autocast,
    sample,
    sample_positions,
    single,
    to_rows,
    torchvision_ops,
)


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the RoIAlign of `input` into `output`.

    Args:
        input: (N, C, H, W) features.
        rois: (K, 5) batch index, x1, y1, x2, y2 in image pixels.
        output: (K, C, aligned_height, aligned_width), overwritten.
        argmax_y: Row of the largest sample of each bin, overwritten if the maximum is taken.
        argmax_x: Column of it.
        aligned_height: Rows of bins per RoI.
        aligned_width: Columns of bins per RoI.
        spatial_scale: Feature pixels per image pixel.
        sampling_ratio: Samples per bin and axis, 0 for as many as the bin has pixels.
        pool_mode: 0 for the maximum of the samples, 1 for their mean.
        aligned: Whether pixel centres lie at half integers.
    """
    if pool_mode == 0:
        _max_forward(
            input,
            rois,
            output,
            argmax_y,
            argmax_x,
            float32(spatial_scale),
            sampling_ratio,
            aligned,
        )
        return
    dtype = _roi_align_dtype(input, rois)
    # The compiled op computes in the type of its inputs, torchvision in float32 under autocast.
    with no_autocast(input):
        pooled = torchvision_ops().roi_align(
            input.to(dtype),
            rois.to(dtype),
            float32(spatial_scale),
            aligned_height,
            aligned_width,
            sampling_ratio,
            aligned,
        )
    output.copy_(pooled)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Add the gradient of RoIAlign with respect to its input to `grad_input`.

    Args:
        grad_output: (K, C, aligned_height, aligned_width) gradient of the output.
        rois: As in `roi_align_forward`.
        argmax_y: As in `roi_align_forward`.
        argmax_x: As in `roi_align_forward`.
        grad_input: (N, C, H, W), added to.
        aligned_height: As in `roi_align_forward`.
        aligned_width: As in `roi_align_forward`.
        spatial_scale: As in `roi_align_forward`.
        sampling_ratio: As in `roi_align_forward`.
        pool_mode: As in `roi_align_forward`.
        aligned: As in `roi_align_forward`.
    """
    if pool_mode == 0:
        _max_backward(grad_output, rois, argmax_y, argmax_x, grad_input)
        return
    dtype = _roi_align_dtype(grad_output, rois)
    grad_input += torchvision_ops()._roi_align_backward(
        grad_output.to(dtype),
        rois.to(dtype),
        float32(spatial_scale),
        aligned_height,
        aligned_width,
        *grad_input.shape,
        sampling_ratio,
        aligned,
    )


def _roi_align_dtype(features: Tensor, rois: Tensor) -> torch.dtype:
    """The type to compute the mean in.

    That of both tensors. Where they differ, or are bfloat16, the compiled op refuses them and so
    does torchvision's: single precision, or double if one of them is.
    """
    if features.dtype == rois.dtype != torch.bfloat16:
        return features.dtype
    return torch.promote_types(torch.promote_types(features.dtype, rois.dtype), torch.float32)


@keep_types
def _max_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> None:
    """RoIAlign with the maximum of the samples of each bin.

    A RoI without samples (no width, or no height) gives zeros; the compiled op gives -10000 on a
    CPU and the lowest number on a GPU.
    """
    channels, height, width = input.shape[1:]
    output.zero_()
    argmax_y.fill_(-1)
    argmax_x.fill_(-1)
    pixels, rois, size = to_rows(input), single(rois), (output.shape[2], output.shape[3])
    first_pixel = rois[:, 0].long() * (height * width)
    for index, y, x in sample_positions(
        rois, size, spatial_scale, sampling_ratio, aligned, channels
    ):
        samples = sample(pixels, first_pixel[index], y, x, input.shape[2:])
        values, best = samples.max(dim=3)  # of (k, rows, columns, S, C)
        for target, source in (
            (output, values),
            (argmax_y, y.gather(3, best)),
            (argmax_x, x.gather(3, best)),
        ):
            target[index] = source.permute(0, 3, 1, 2).to(target.dtype)


@keep_types
def _max_backward(
    grad_output: Tensor, rois: Tensor, argmax_y: Tensor, argmax_x: Tensor, grad_input: Tensor
) -> None:
    """Add the gradient to the pixels around the largest sample of each bin."""
    channels, height, width = grad_input.shape[1:]
    first_pixel = (rois[:, 0].long() * (height * width))[:, None, None, None]
    grad = single(grad_output) * (argmax_y != -1)
    rows = grad.new_zeros(grad_input.numel() // max(1, channels), channels)
    for pixel, weight in corners(single(argmax_y), single(argmax_x), height, width):
        index, values = (
            tensor.permute(0, 2, 3, 1).reshape(-1, channels)
            for tensor in (first_pixel + pixel, grad * weight)
        )
        rows.scatter_add_(0, index, values)
    add_rows(rows, grad_input)
