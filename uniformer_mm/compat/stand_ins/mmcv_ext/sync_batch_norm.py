"""The compiled steps of mmcv's synchronized batch norm (`MMSyncBN`), in plain PyTorch.

`input`, `output` and `norm` are (N, C, pixels), the other tensors (C,). mmcv averages the
statistics, float32 for inputs of every type, over processes between the steps.
"""

from __future__ import annotations

from torch import Tensor

from .shared import op, single


@op
def sync_bn_forward_mean(input: Tensor, mean: Tensor) -> None:
    """Write the mean of `input` into `mean`."""
    mean.copy_(single(input).mean((0, 2)))


@op
def sync_bn_forward_var(input: Tensor, mean: Tensor, var: Tensor) -> None:
    """Write the variance of `input` around `mean` into `var`."""
    var.copy_((single(input) - mean[:, None]).square().mean((0, 2)))


@op
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
    """Normalize `input` and update the running statistics.

    `output`, `norm` (the normalized input, float32) and `std` are overwritten. `group_size` is the
    number of processes that share the statistics. The running variance is the unbiased one.
    """
    std.copy_((var + eps).sqrt())
    norm.copy_((single(input) - mean[:, None]) / std[:, None])
    output.copy_(norm * weight[:, None] + bias[:, None])
    count = input.shape[0] * input.shape[2] * group_size
    running_mean.lerp_(mean, float(momentum))
    running_var.lerp_(var * (count / max(1, count - 1)), float(momentum))


@op
def sync_bn_backward_param(
    grad_output: Tensor, norm: Tensor, grad_weight: Tensor, grad_bias: Tensor
) -> None:
    """Write the gradients of weight and bias."""
    grad_weight.copy_((single(grad_output) * norm).sum((0, 2)))
    grad_bias.copy_(single(grad_output).sum((0, 2)))


@op
def sync_bn_backward_data(
    grad_output: Tensor,
    weight: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    norm: Tensor,
    std: Tensor,
    grad_input: Tensor,
) -> None:
    """Write the gradient of the input. Those of weight and bias are the means of all processes."""
    count = norm.shape[0] * norm.shape[2]
    common = (grad_weight[:, None] * norm + grad_bias[:, None]) / count
    grad_input.copy_((weight / std)[:, None] * (single(grad_output) - common))
