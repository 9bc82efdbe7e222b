"""The steps of mmcv's synchronized batch norm (`MMSyncBN`) that it has compiled, in plain torch.

mmcv averages the statistics over processes between the steps. They are float32 for inputs of every
type.
"""

from __future__ import annotations

from torch import Tensor

from .shared import keep_types, single


@keep_types
def sync_bn_forward_mean(input: Tensor, mean: Tensor) -> None:
    """Write the mean of (N, C, pixels) `input` into (C,) `mean`."""
    mean.copy_(single(input).mean((0, 2)))


@keep_types
def sync_bn_forward_var(input: Tensor, mean: Tensor, var: Tensor) -> None:
    """Write the mean squared distance of (N, C, pixels) `input` from `mean` into (C,) `var`."""
    var.copy_((single(input) - mean[:, None]).square().mean((0, 2)))


@keep_types
def sync_bn_forward_output(
    input: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    norm: Tensor,
    std: Tensor,
    output: Tensor,
    eps: float,
    momentum: float,
    group_size: int,
) -> None:
    """Normalize, and update the running statistics.

    Args:
        input: (N, C, pixels).
        mean: (C,).
        var: (C,).
        weight: (C,).
        bias: (C,).
        running_mean: (C,), updated.
        running_var: (C,), updated with the unbiased variance.
        norm: (N, C, pixels) float32, overwritten with the normalized input.
        std: (C,), overwritten.
        output: (N, C, pixels), overwritten.
        eps: Added to the variance.
        momentum: Share of the new statistics in the running ones.
        group_size: Processes that share the statistics.
    """
    std.copy_((var + eps).sqrt())
    norm.copy_((single(input) - mean[:, None]) / std[:, None])
    output.copy_(norm * weight[:, None] + bias[:, None])
    count = input.shape[0] * input.shape[2] * group_size
    running_mean.lerp_(mean, float(momentum))
    running_var.lerp_(var * (count / max(1, count - 1)), float(momentum))


@keep_types
def sync_bn_backward_param(
    grad_output: Tensor, norm: Tensor, grad_weight: Tensor, grad_bias: Tensor
) -> None:
    """Write the gradients of weight and bias, (C,) each."""
    grad_weight.copy_((single(grad_output) * norm).sum((0, 2)))
    grad_bias.copy_(single(grad_output).sum((0, 2)))


@keep_types
def sync_bn_backward_data(
    grad_output: Tensor,
    weight: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    norm: Tensor,
    std: Tensor,
    grad_input: Tensor,
) -> None:
    """Write the gradient of the input, with the gradients of weight and bias of all processes."""
    count = norm.shape[0] * norm.shape[2]
    common = (grad_weight[:, None] * norm + grad_bias[:, None]) / count
    grad_input.copy_((weight / std)[:, None] * (single(grad_output) - common))
