"""Focal loss (https://arxiv.org/abs/1708.02002) of sigmoid and of softmax.

`target` is (N,) int64 classes and `weight` is (C,) weights of the targets' classes, or empty.
`gamma` is the exponent of one minus the probability, `alpha` the weight of the target's class.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .shared import float32, op, single

TINY = torch.finfo(torch.float32).tiny
"""Keeps logarithms finite."""


@op
def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the loss of each class, for (N, C) logits, into `output`, (N, C).

    Class C of a target is background. Classes other than the target's have the weight 1 - alpha.
    """
    p, q, is_target = _probabilities(input, target)
    loss = q.pow_(float32(gamma)).mul_(p.clamp_(min=TINY).log_())
    loss.mul_(torch.where(is_target, -float32(alpha), float32(alpha) - 1))
    output.copy_(_weighted(loss, weight, target))


@op
def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the derivative of each element of the loss into `grad_input`."""
    p, q, is_target = _probabilities(input, target)
    slope = p.clamp(min=TINY).log_().mul_(p).mul_(-float32(gamma)).add_(q)
    grad = q.pow_(float32(gamma)).mul_(slope)
    grad.mul_(torch.where(is_target, -float32(alpha), 1 - float32(alpha)))
    grad_input.copy_(_weighted(grad, weight, target))


@op
def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the loss of each row, for (N, C) probabilities, into `output`, (N,).

    Rows whose target is below 0 are ignored.
    """
    gamma, alpha, p = float32(gamma), float32(alpha), _probability_of_target(input, target)
    loss = -alpha * (1 - p) ** gamma * p.clamp(min=TINY).log()
    output.copy_(_weighted(loss * (target >= 0), weight, target))


@op
def softmax_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the gradient with respect to the logits into `grad_input`.

    `buff`, (N,), is overwritten with the factor that the elements of a row share.
    """
    gamma, alpha, p = float32(gamma), float32(alpha), _probability_of_target(input, target)
    slope = gamma * (1 - p) ** (gamma - 1) * p * p.clamp(min=TINY).log() - (1 - p) ** gamma
    factor = _weighted(alpha * slope * (target >= 0), weight, target)
    classes = torch.arange(input.shape[1], device=input.device)
    buff.copy_(factor)
    grad_input.copy_(factor[:, None] * ((target[:, None] == classes).to(p.dtype) - single(input)))


def _probabilities(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probability of the correct answer for each class, one minus it, and which are targets."""
    p = single(input).sigmoid()
    is_target = target[:, None] == torch.arange(input.shape[1], device=input.device)
    q = 1 - p
    return torch.where(is_target, p, q), torch.where(is_target, q, p), is_target


def _probability_of_target(input: Tensor, target: Tensor) -> Tensor:
    return single(input).gather(1, target.clamp(min=0)[:, None])[:, 0]


def _weighted(values: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """Multiply (N,) or (N, C) values by the weight of the target's class of each row."""
    if not weight.numel():
        return values
    # Background has no weight of its own (the compiled op reads past the end of the weights).
    factor = torch.cat([weight, weight.new_ones(1)])[target]
    return values * factor.view(-1, *[1] * (values.ndim - 1))
