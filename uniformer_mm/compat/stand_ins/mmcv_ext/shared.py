"""What the ops have in common: precision, torchvision's operators and bilinear samples of RoIs."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")

# Elements of the largest temporary tensor while RoIs are sampled: 64 MB of float32.
CHUNK = 2**24


def no_autocast(tensor: Tensor) -> torch.autocast:
    """Context in which ops on the device of `tensor` keep their types."""
    return torch.autocast(tensor.device.type, enabled=False)


def keep_types(op: Callable[P, R]) -> Callable[P, R]:
    """Run an op, whose first argument is a tensor, without autocast, as compiled ops run."""

    @functools.wraps(op)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        first = args[0] if args else next(iter(kwargs.values()))
        assert isinstance(first, Tensor)
        with no_autocast(first):
            return op(*args, **kwargs)

    return run


def single(tensor: Tensor) -> Tensor:
    """The tensor in float32 if it is of half precision, else unchanged."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def float32(value: float) -> float:
    """Round as the compiled ops do, whose scalar arguments are single precision."""
    return ctypes.c_float(value).value


def torchvision_ops() -> Any:
    """The namespace of torchvision's operators, imported on first use."""
    try:
        import torchvision  # noqa: F401

        ops = torch.ops.torchvision
        _ = ops.nms, ops.roi_align, ops._roi_align_backward
        _ = ops.deform_conv2d, ops._deform_conv2d_backward
    except (ImportError, RuntimeError, AttributeError) as error:
        raise RuntimeError(
            "mmcv is installed without compiled ops and torchvision, which replaces nms, roi_align "
            f"and deform_conv, does not work with torch {torch.__version__}: {error}. Install "
            "torch and torchvision from the same place: a CPU build of one does not fit a CUDA "
            "build of the other."
        ) from error
    return ops


def to_rows(features: Tensor) -> Tensor:
    """(N, C, H, W) features as (N * H * W, C) rows, one per pixel."""
    return single(features).permute(0, 2, 3, 1).reshape(-1, features.shape[1])


def add_rows(rows: Tensor, features: Tensor) -> None:
    """Add the (N * H * W, C) `rows` of `to_rows` to (N, C, H, W) `features`."""
    n, c, h, w = features.shape
    features += rows.view(n, h, w, c).permute(0, 3, 1, 2).to(features.dtype)


def sample_positions(
    rois: Tensor,
    size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    channels: int,
    shift: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Positions at which RoIAlign samples the bins of each RoI.

    Args:
        rois: (K, 5) batch index, x1, y1, x2, y2 in image pixels.
        size: Rows and columns of bins per RoI.
        spatial_scale: Feature pixels per image pixel.
        sampling_ratio: Samples per bin and axis, 0 for as many as the bin has pixels.
        aligned: Whether pixel centres lie at half integers.
        channels: Of the features that are sampled, for the number of RoIs taken together.
        shift: (K, 2, rows, columns) displacement of each bin in x and y, in RoI widths and heights.

    Yields:
        Indices (k,) of RoIs that have the same number S of samples per bin, and their y and x,
        (k, rows, columns, S) in feature pixels, rows of samples first. RoIs without a sample are
        left out.
    """
    start = rois[:, 1:3] * spatial_scale - 0.5 * aligned
    extent = rois[:, 3:5] * spatial_scale - 0.5 * aligned - start
    if not aligned:
        extent = extent.clamp(min=1)
    bins = extent.new_tensor([size[1], size[0]])
    step = extent / bins
    samples = torch.full_like(step, sampling_ratio) if sampling_ratio > 0 else step.float().ceil()
    # One transfer from the GPU tells the kinds of RoIs; there are few of them.
    kinds, kind = torch.unique(samples.long().clamp(min=0), dim=0, return_inverse=True)
    for of_kind, (columns, rows) in enumerate(kinds.tolist()):
        if not rows * columns:
            continue
        members = (kind == of_kind).nonzero()[:, 0]
        together = max(1, CHUNK // max(1, channels * size[0] * size[1] * rows * columns))
        for index in members.split(together):
            x, y = (
                _axis_positions(start[index, axis], step[index, axis], bins_on_axis, number)
                for axis, bins_on_axis, number in ((0, size[1], columns), (1, size[0], rows))
            )  # (k, bins, samples)
            y, x = y[:, :, None, :, None], x[:, None, :, None, :]
            if shift is not None:
                dx, dy = (shift[index] * extent[index, :, None, None])[..., None, None].unbind(1)
                y, x = y + dy, x + dx
            y, x = torch.broadcast_tensors(y, x)
            yield index, y.flatten(3), x.flatten(3)


def _axis_positions(start: Tensor, step: Tensor, bins: int, samples: int) -> Tensor:
    """(k, bins, samples) positions along one axis, for (k,) first edges and sizes of a bin."""
    bin_number = torch.arange(bins, dtype=start.dtype, device=start.device)
    sample = torch.arange(samples, dtype=start.dtype, device=start.device) + 0.5
    edges = start[:, None] + bin_number * step[:, None]
    return edges[:, :, None] + (sample * step[:, None] / samples)[:, None]


def corners(y: Tensor, x: Tensor, height: int, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The four pixels that bilinear interpolation of RoIAlign reads.

    A position up to one pixel outside counts as the border, one further out as zero.

    Args:
        y: Row, of any shape.
        x: Column, of the shape of `y`.
        height: Of the feature map.
        width: Of the feature map.

    Yields:
        Index of the pixel in the flattened map, and its weight: top left, top right, bottom left,
        bottom right.
    """
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    (top, bottom, y_weight), (left, right, x_weight) = neighbours(y, height), neighbours(x, width)
    for row, row_weight in ((top, 1 - y_weight), (bottom, y_weight)):
        for column, column_weight in ((left, 1 - x_weight), (right, x_weight)):
            yield row * width + column, row_weight * column_weight * inside


def neighbours(position: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lower and upper pixel next to a position along an axis, and the weight of the upper one."""
    position = position.clamp(0, size - 1)
    low = position.long()
    return low, (low + 1).clamp(max=size - 1), position - low


def sample(pixels: Tensor, first_pixel: Tensor, y: Tensor, x: Tensor, size: torch.Size) -> Tensor:
    """Bilinear interpolation as in RoIAlign.

    Args:
        pixels: (N * H * W, C) rows of `to_rows`.
        first_pixel: (k,) row of the first pixel of the image.
        y: (k, ...) row.
        x: Column, of the shape of `y`.
        size: H and W.

    Returns:
        (k, ..., C).
    """
    first = first_pixel.view(-1, *[1] * (y.ndim - 1))
    result = pixels.new_zeros(*y.shape, pixels.shape[1])
    for pixel, weight in corners(y, x, *size):
        result.addcmul_(pixels[first + pixel], weight[..., None])
    return result
