"""RoIAlign: the mean of samples by torchvision, their maximum in plain PyTorch.

Arguments of both passes:

- `input`: (N, C, H, W) features.
- `rois`: (K, 5) batch index, x1, y1, x2, y2 in image pixels.
- `output`: (K, C, aligned_height, aligned_width).
- `argmax_y`, `argmax_x`: position of the largest sample of each bin, used for the maximum only.
- `aligned_height`, `aligned_width`: rows and columns of bins per RoI.
- `spatial_scale`: feature pixels per image pixel.
- `sampling_ratio`: samples per bin and axis, 0 for as many as the bin has pixels.
- `pool_mode`: 0 for the maximum of the samples, 1 for their mean.
- `aligned`: whether pixel centers are at half integers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .shared import (
    add_at_pixels,
    corners,
    first_rows,
    float32,
    op,
    sample,
    sample_positions,
    single,
    to_rows,
    torchvision_ops,
)


@op
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

    The maximum for a RoI without samples (no width, or no height) is 0; the compiled op gives
    -10000 on a CPU and the lowest number on a GPU.
    """
    if pool_mode == 1:
        dtype = _mean_dtype(input, rois)
        pooled = torchvision_ops().roi_align(
            *(input.to(dtype), rois.to(dtype), float32(spatial_scale)),
            *(aligned_height, aligned_width, sampling_ratio, aligned),
        )
        output.copy_(pooled)
        return
    output.zero_()
    argmax_y.fill_(-1)
    argmax_x.fill_(-1)
    rows, size = to_rows(input), input.shape[2:]
    first = first_rows(rois, size)
    for index, y, x in sample_positions(rois, output.shape, spatial_scale, sampling_ratio, aligned):
        values, best = sample(rows, first[index], y, x, size).max(dim=3)
        # (k, rows, columns, C)
        for target, source in (
            (output, values),
            (argmax_y, y.gather(3, best)),
            (argmax_x, x.gather(3, best)),
        ):
            target[index] = source.permute(0, 3, 1, 2).to(target.dtype)


@op
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
    """Add the gradient to `grad_input`."""
    if pool_mode == 1:
        dtype = _mean_dtype(grad_output, rois)
        grad_input += torchvision_ops()._roi_align_backward(
            *(grad_output.to(dtype), rois.to(dtype), float32(spatial_scale)),
            *(aligned_height, aligned_width, *grad_input.shape, sampling_ratio, aligned),
        )
        return
    grad = single(grad_output) * (argmax_y != -1)
    around = corners(single(argmax_y), single(argmax_x), grad_input.shape[2:])
    add_at_pixels(grad_input, rois, ((pixel, grad * weight) for pixel, weight in around))


def _mean_dtype(features: Tensor, rois: Tensor) -> torch.dtype:
    """Return the type in which the mean is computed: float32, or float64 if one of them is.

    In half precision, positions of samples would be off by pixels. (The compiled op computes
    float16 in float16 and refuses bfloat16 and tensors of different types.)
    """
    return torch.promote_types(torch.promote_types(features.dtype, rois.dtype), torch.float32)
