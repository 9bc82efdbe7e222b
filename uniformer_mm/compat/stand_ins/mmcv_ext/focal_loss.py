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
    gamma, alpha, p, is_target = _sigmoid_terms(input, target, gamma, alpha)
    of_target = (1 - p) ** gamma * p.clamp(min=TINY).log()
    of_others = p**gamma * (1 - p).clamp(min=TINY).log()
    loss = torch.where(is_target, -alpha * of_target, -(1 - alpha) * of_others)
    output.copy_(_weighted(loss, weight, target))


@keep_types
def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the derivative of each element of `sigmoid_focal_loss_forward` into `grad_input`."""
    gamma, alpha, p, is_target = _sigmoid_terms(input, target, gamma, alpha)
    of_target = (1 - p) ** gamma * (1 - p - gamma * p * p.clamp(min=TINY).log())
    of_others = p**gamma * (gamma * (1 - p) * (1 - p).clamp(min=TINY).log() - p)
    grad = torch.where(is_target, -alpha * of_target, -(1 - alpha) * of_others)
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


def _sigmoid_terms(
    input: Tensor, target: Tensor, gamma: float, alpha: float
) -> tuple[float, float, Tensor, Tensor]:
    """Gamma and alpha as the compiled op rounds them, probabilities, and which are targets."""
    classes = torch.arange(input.shape[1], device=input.device)
    return float32(gamma), float32(alpha), single(input).sigmoid(), target[:, None] == classes


def _probability_of_target(input: Tensor, target: Tensor) -> Tensor:
    return single(input).gather(1, target.clamp(min=0)[:, None])[:, 0]


def _weighted(values: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """Values, (N,) or (N, C), times the weight of the target's class of each row."""
    if not weight.numel():
        return values
    # Background has no weight of its own (the compiled op reads past the end of the weights).
    factor = torch.cat([weight, weight.new_ones(1)])[target]
    return values * factor.view(-1, *[1] * (values.ndim - 1))
