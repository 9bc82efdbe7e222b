"""Multi-scale deformable attention, by `grid_sample`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .shared import keep_types, single


@keep_types
def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Weighted mean of sampled values (Deformable DETR, https://arxiv.org/abs/2010.04159, eq. 3).

    Level by level, so that the samples of one level at a time are in memory.

    Args:
        value: (N, pixels of all levels, heads, D).
        value_spatial_shapes: (levels, 2) height and width of each level.
        value_level_start_index: (levels,) first pixel of each level.
        sampling_locations: (N, queries, heads, levels, points, 2) x, y in 0 to 1.
        attention_weights: (N, queries, heads, levels, points).
        im2col_step: Not used.

    Returns:
        (N, queries, heads * D).
    """
    n, queries, heads = sampling_locations.shape[:3]
    output = single(value).new_zeros(n * heads, value.shape[3], queries)
    levels = _levels(
        value,
        value_spatial_shapes,
        value_level_start_index,
        sampling_locations,
        attention_weights,
    )
    for _, _, value_of_level, locations, weights in levels:
        output += _attend(value_of_level, locations, weights)
    output = output.view(n, heads * value.shape[3], queries).transpose(1, 2)
    return output.contiguous().to(value.dtype)


@keep_types
def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Write the gradients of `ms_deform_attn_forward` into the tensors `grad_...`.

    The samples are computed again, level by level.
    """
    n, queries, heads = sampling_locations.shape[:3]
    grad = single(grad_output).transpose(1, 2).reshape(n * heads, value.shape[3], queries)
    levels = _levels(
        value,
        value_spatial_shapes,
        value_level_start_index,
        sampling_locations,
        attention_weights,
    )
    for level, start, *inputs in levels:
        inputs = [tensor.detach().requires_grad_() for tensor in inputs]
        with torch.enable_grad():
            output = _attend(*inputs)
        of_value, of_locations, of_weights = torch.autograd.grad(output, inputs, grad)
        # Exactly one pixel outside, the compiled op takes the slope on the outer side.
        size = inputs[1].new_tensor(inputs[0].shape[:1:-1])
        of_locations.masked_fill_(inputs[1].detach() * size - 0.5 == -1, 0)
        pixels = of_value.flatten(2).unflatten(0, (n, heads)).permute(0, 3, 1, 2)
        grad_value[:, start : start + pixels.shape[1]] = pixels
        for target, source in (
            (grad_sampling_loc, of_locations),
            (grad_attn_weight, of_weights),
        ):
            target[:, :, :, level] = (
                source.unflatten(0, (n, heads)).transpose(1, 2).to(target.dtype)
            )


def _levels(
    value: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor, weights: Tensor
) -> Iterator[tuple[int, int, Tensor, Tensor, Tensor]]:
    """Number and first pixel of each level, and its parts of the inputs with heads in the batch."""
    for level, ((height, width), start) in enumerate(
        zip(shapes.tolist(), starts.tolist(), strict=True)
    ):
        pixels = single(value[:, start : start + height * width]).permute(0, 2, 3, 1)
        yield (
            level,
            start,
            pixels.reshape(-1, value.shape[3], height, width),
            single(locations[:, :, :, level]).transpose(1, 2).flatten(0, 1),
            single(weights[:, :, :, level]).transpose(1, 2).flatten(0, 1),
        )


def _attend(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """Attention to one level.

    Args:
        value: (B, D, H, W).
        locations: (B, queries, points, 2) x, y in 0 to 1.
        weights: (B, queries, points).

    Returns:
        (B, D, queries).
    """
    samples = F.grid_sample(value, 2 * locations - 1, align_corners=False)
    return (samples * weights[:, None]).sum(-1)
