"""Focal loss (https://arxiv.org/abs/1708.02002) of sigmoid and of softmax."""

from __future__ import annotations

import torch
from torch import Tensor

from .shared import float32, keep_types, single

# Keeps logarithms finite.
TINY = torch.finfo(torch.float32).tiny


@keep_types
def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the focal loss of each class into `output`.

    Args:
        input: (N, C) logits.
        target: (N,) int64 classes, C for background.
        weight: (C,) weights of the targets' classes, empty for none.
        output: (N, C), overwritten.
        gamma: Exponent of the probability that is missing.
        alpha: Weight of the target's class; the others have 1 - alpha.
    """
    right, missing, is_target = _probabilities(input, target)
    loss = missing.pow_(float32(gamma)).mul_(right.clamp_(min=TINY).log_())
    loss.mul_(_choose(is_target, -float32(alpha), float32(alpha) - 1, loss))
    output.copy_(_weighted(loss, weight, target))


@keep_types
def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the derivative of each element of `sigmoid_focal_loss_forward` into `grad_input`."""
    right, missing, is_target = _probabilities(input, target)
    slope = right.clamp(min=TINY).log_().mul_(right).mul_(-float32(gamma)).add_(missing)
    grad = missing.pow_(float32(gamma)).mul_(slope)
    grad.mul_(_choose(is_target, -float32(alpha), 1 - float32(alpha), grad))
    grad_input.copy_(_weighted(grad, weight, target))


@keep_types
def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the focal loss of each row into `output`.

    Args:
        input: (N, C) probabilities, mmcv takes the softmax before.
        target: (N,) int64 classes, below 0 for rows that are ignored.
        weight: (C,) weights of the targets' classes, empty for none.
        output: (N,), overwritten.
        gamma: Exponent of the probability that is missing.
        alpha: Weight of all rows.
    """
    gamma, alpha, p = float32(gamma), float32(alpha), _probability_of_target(input, target)
    loss = -alpha * (1 - p) ** gamma * p.clamp(min=TINY).log()
    output.copy_(_weighted(loss * (target >= 0), weight, target))


@keep_types
def softmax_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the gradient of `softmax_focal_loss_forward` by the logits into `grad_input`.

    Args:
        input: (N, C) probabilities.
        target: As in the forward pass.
        weight: As in the forward pass.
        buff: (N,), overwritten with the factor that a row has in common.
        grad_input: (N, C), overwritten.
        gamma: As in the forward pass.
        alpha: As in the forward pass.
    """
    gamma, alpha, p = float32(gamma), float32(alpha), _probability_of_target(input, target)
    slope = gamma * (1 - p) ** (gamma - 1) * p * p.clamp(min=TINY).log() - (1 - p) ** gamma
    factor = _weighted(alpha * slope * (target >= 0), weight, target)
    classes = torch.arange(input.shape[1], device=input.device)
    buff.copy_(factor)
    grad_input.copy_(factor[:, None] * ((target[:, None] == classes).to(p.dtype) - single(input)))


def _probabilities(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probability of the right answer for each class, what is missing from 1, and the targets."""
    p = single(input).sigmoid()
    is_target = target[:, None] == torch.arange(input.shape[1], device=input.device)
    not_p = 1 - p
    return torch.where(is_target, p, not_p), torch.where(is_target, not_p, p), is_target


def _choose(condition: Tensor, if_true: float, if_false: float, like: Tensor) -> Tensor:
    return torch.where(condition, like.new_tensor(if_true), like.new_tensor(if_false))


def _probability_of_target(input: Tensor, target: Tensor) -> Tensor:
    return single(input).gather(1, target.clamp(min=0)[:, None])[:, 0]


def _weighted(values: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """Values, (N,) or (N, C), times the weight of the target's class of each row."""
    if not weight.numel():
        return values
    # Background has no weight of its own (the compiled op reads past the end of the weights).
    factor = torch.cat([weight, weight.new_ones(1)])[target]
    return values * factor.view(-1, *[1] * (values.ndim - 1))
