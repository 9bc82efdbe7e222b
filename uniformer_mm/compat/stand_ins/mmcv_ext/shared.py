"""Registration of ops, precision, torchvision's operators and bilinear sampling of RoIs."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")

CHUNK = 2**24
"""Elements of the largest temporary tensor while RoIs are sampled: 64 MB of float32."""

OPS: dict[str, Callable[..., Any]] = {}
"""All ops by name."""


def op(function: Callable[P, R]) -> Callable[P, R]:
    """Register an op, whose first argument is a tensor. It runs without autocast, as compiled."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        first = args[0] if args else next(iter(kwargs.values()))
        assert isinstance(first, Tensor)
        with torch.autocast(first.device.type, enabled=False):
            return function(*args, **kwargs)

    OPS[function.__name__] = run
    return run


def single(tensor: Tensor) -> Tensor:
    """Convert half precision to float32."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def float32(value: float) -> float:
    """Round as the compiled ops do, whose scalar arguments are single precision."""
    return ctypes.c_float(value).value


def gradients(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], grad_output: Tensor
) -> tuple[Tensor, ...]:
    """Compute the gradients of `function(*inputs)`, which is run again."""
    inputs = [tensor.detach().requires_grad_() for tensor in inputs]
    with torch.enable_grad():
        output = function(*inputs)
    return torch.autograd.grad(output, inputs, grad_output)


def torchvision_ops() -> Any:
    """Import torchvision on first use and return the namespace of its operators."""
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
    """Convert (N, C, H, W) features to (N * H * W, C) rows, one per pixel."""
    return single(features).permute(0, 2, 3, 1).reshape(-1, features.shape[1])


def add_rows(rows: Tensor, features: Tensor) -> None:
    """Add the (N * H * W, C) `rows` of `to_rows` to (N, C, H, W) `features`."""
    n, c, h, w = features.shape
    features += rows.view(n, h, w, c).permute(0, 3, 1, 2).to(features.dtype)


def first_rows(rois: Tensor, size: Sequence[int]) -> Tensor:
    """(K, 1, 1, 1) index of the first row of each RoI's image, for features of a size (H, W)."""
    return (rois[:, 0].long() * (size[0] * size[1]))[:, None, None, None]


def add_at_pixels(features: Tensor, rois: Tensor, values: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Add values to pixels of the images of RoIs.

    Args:
        features: (N, C, H, W).
        rois: (K, 5) batch index, x1, y1, x2, y2.
        values: Pairs of indices in the flattened feature map, and values; all are (K, C, rows,
            columns).
    """
    channels = features.shape[1]
    first = first_rows(rois, features.shape[2:])
    rows = single(features).new_zeros(features.numel() // max(1, channels), channels)
    for pixel, value in values:
        index, added = (
            tensor.permute(0, 2, 3, 1).reshape(-1, channels) for tensor in (first + pixel, value)
        )
        rows.scatter_add_(0, index, added)
    add_rows(rows, features)


def equal_sizes(sizes: Tensor, elements: int) -> Iterator[tuple[Tensor, int, int]]:
    """Group RoIs by size, in chunks whose temporary tensors have at most `CHUNK` elements.

    Args:
        sizes: (K, 2) columns and rows of each RoI. RoIs with 0 of them are left out.
        elements: Elements of a temporary tensor per RoI, column and row.

    Yields:
        Indices (k,) of RoIs of equal size, their columns and rows.
    """
    # One transfer from the GPU tells the different sizes, which are few.
    kinds, kind = torch.unique(sizes, dim=0, return_inverse=True)
    for number, (columns, rows) in enumerate(kinds.tolist()):
        if columns * rows:
            members = (kind == number).nonzero()[:, 0]
            for index in members.split(max(1, CHUNK // max(1, elements * columns * rows))):
                yield index, columns, rows


def sample_positions(
    rois: Tensor,
    shape: Sequence[int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    shift: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Compute the positions at which RoIAlign samples the bins of each RoI.

    Args:
        rois: (K, 5) batch index, x1, y1, x2, y2 in image pixels.
        shape: Of the output, (K, C, rows of bins, columns of bins).
        spatial_scale: Feature pixels per image pixel.
        sampling_ratio: Samples per bin and axis; 0 for as many as the bin has pixels.
        aligned: Whether pixel centers are at half integers.
        shift: (K, 2, rows, columns) displacement of each bin in x and y, in RoI widths and heights.

    Yields:
        Indices (k,) of RoIs with the same number S of samples per bin, and their y and x, (k, rows,
        columns, S) in feature pixels, rows of samples first. RoIs without samples are left out.
    """
    rois, spatial_scale = single(rois), float32(spatial_scale)
    start = rois[:, 1:3] * spatial_scale - 0.5 * aligned
    extent = rois[:, 3:5] * spatial_scale - 0.5 * aligned - start
    if not aligned:
        extent = extent.clamp(min=1)
    step = extent / extent.new_tensor([shape[3], shape[2]])
    samples = torch.full_like(step, sampling_ratio) if sampling_ratio > 0 else step.float().ceil()
    bins = shape[1] * shape[2] * shape[3]
    for index, columns, rows in equal_sizes(samples.long().clamp(min=0), bins):
        x = _axis_positions(start[index, 0], step[index, 0], shape[3], columns)
        y = _axis_positions(start[index, 1], step[index, 1], shape[2], rows)
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


def corners(y: Tensor, x: Tensor, size: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """The four pixels that bilinear interpolation of RoIAlign reads.

    A position up to one pixel outside counts as the border, one further out as zero.

    Args:
        y: Rows, of any shape.
        x: Columns, of the shape of `y`.
        size: H and W of the feature map.

    Yields:
        Index of the pixel in the flattened map, and its weight: top left, top right, bottom left,
        bottom right.
    """
    inside = is_inside(y, x, size)
    (top, bottom, y_weight), (left, right, x_weight) = neighbors(y, size[0]), neighbors(x, size[1])
    for row, row_weight in ((top, 1 - y_weight), (bottom, y_weight)):
        for column, column_weight in ((left, 1 - x_weight), (right, x_weight)):
            yield row * size[1] + column, row_weight * column_weight * inside


def is_inside(y: Tensor, x: Tensor, size: Sequence[int]) -> Tensor:
    """Whether positions are at most one pixel outside of a feature map."""
    return (y >= -1) & (y <= size[0]) & (x >= -1) & (x <= size[1])


def neighbors(position: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lower and upper pixel next to a position along an axis, and the weight of the upper one."""
    position = position.clamp(0, size - 1)
    low = position.long()
    return low, (low + 1).clamp(max=size - 1), position - low


def sample(rows: Tensor, first: Tensor, y: Tensor, x: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear interpolation of the `rows` of `to_rows`, (k, ..., C).

    Args:
        rows: (N * H * W, C).
        first: (k, 1, 1, 1) first row of each image.
        y: (k, ...) row of the feature map.
        x: Column, of the shape of `y`.
        size: H and W.
    """
    result = rows.new_zeros(*y.shape, rows.shape[1])
    for pixel, weight in corners(y, x, size):
        result.addcmul_(rows[first + pixel], weight[..., None])
    return result
