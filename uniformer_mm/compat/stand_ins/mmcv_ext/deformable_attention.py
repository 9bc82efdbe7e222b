"""Multi-scale deformable attention (Deformable DETR, https://arxiv.org/abs/2010.04159, eq. 3).

By `grid_sample`, one level at a time, so that the samples of one level are in memory. Arguments:

- `value`: (N, pixels of all levels, heads, D).
- `value_spatial_shapes`: (levels, 2) height and width of each level.
- `value_level_start_index`: (levels,) first pixel of each level.
- `sampling_locations`: (N, queries, heads, levels, points, 2) x, y in 0 to 1.
- `attention_weights`: (N, queries, heads, levels, points).
- `im2col_step`: not used.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor

from .shared import gradients, op, single


@op
def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Return the weighted mean of sampled values, (N, queries, heads * D)."""
    n, queries, heads = sampling_locations.shape[:3]
    output = single(value).new_zeros(n * heads, value.shape[3], queries)
    for _, inputs in _levels(
        (value, sampling_locations, attention_weights),
        value_spatial_shapes,
        value_level_start_index,
    ):
        output += _attend(*inputs)
    output = output.view(n, heads * value.shape[3], queries).transpose(1, 2)
    return output.contiguous().to(value.dtype)


@op
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
    """Write the gradients into the tensors `grad_...`. The samples are computed again."""
    n, queries, heads = sampling_locations.shape[:3]
    grad = single(grad_output).transpose(1, 2).reshape(n * heads, value.shape[3], queries)
    for level, inputs in _levels(
        (value, sampling_locations, attention_weights),
        value_spatial_shapes,
        value_level_start_index,
    ):
        of_value, of_locations, of_weights = gradients(_attend, inputs, grad)
        # Exactly one pixel outside, the compiled op takes the slope on the outer side.
        size = inputs[1].new_tensor(inputs[0].shape[:1:-1])
        of_locations.masked_fill_(inputs[1] * size - 0.5 == -1, 0)
        pixels = of_value.flatten(2).unflatten(0, (n, heads)).permute(0, 3, 1, 2)
        grad_value.narrow(1, int(value_level_start_index[level]), pixels.shape[1]).copy_(pixels)
        for target, source in ((grad_sampling_loc, of_locations), (grad_attn_weight, of_weights)):
            target[:, :, :, level].copy_(source.unflatten(0, (n, heads)).transpose(1, 2))


def _levels(
    inputs: tuple[Tensor, Tensor, Tensor], shapes: Tensor, starts: Tensor
) -> Iterator[tuple[int, tuple[Tensor, Tensor, Tensor]]]:
    """Yield the number of each level, and its values, locations and weights for `_attend`."""
    value, locations, weights = inputs
    for level, (height, width) in enumerate(shapes.tolist()):
        pixels = single(value.narrow(1, int(starts[level]), height * width)).permute(0, 2, 3, 1)
        yield (
            level,
            (
                pixels.reshape(-1, value.shape[3], height, width),
                single(locations[:, :, :, level]).transpose(1, 2).flatten(0, 1),
                single(weights[:, :, :, level]).transpose(1, 2).flatten(0, 1),
            ),
        )


def _attend(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """Attend to one level.

    Args:
        value: (N * heads, D, H, W).
        locations: (N * heads, queries, points, 2) x, y in 0 to 1.
        weights: (N * heads, queries, points).

    Returns:
        (N * heads, D, queries).
    """
    samples = F.grid_sample(value, 2 * locations - 1, align_corners=False)
    return (samples * weights[:, None]).sum(-1)
