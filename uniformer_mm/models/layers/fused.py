"""Layers for inference with what surrounds them folded into their weights.

On CPUs, GELU and residual connections run in the epilogue of matrix products (oneDNN), and
feed-forward networks run in slices that fit the cache: their hidden map, the largest of a block,
never reaches the memory.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uniformer_mm.models.layers.depthwise import Depthwise
from uniformer_mm.models.layers.devices import has_epilogues
from uniformer_mm.models.layers.fused_op import layer_norm, runs_kernels
from uniformer_mm.torch_internals import linear_pointwise

SLICE = 2**20
"""Hidden values of a feed-forward network that a CPU computes at a time: 4 MB in fp32."""

BF16_SLICE = 2**19
"""The same in bfloat16, per thread: 1 MB, half of the second-level cache of a Xeon with AMX."""


class FusedLinear(nn.Linear):
    """Linear layer with norm and layer scale folded in; GELU or an addition may follow.

    Args:
        layer: Linear layer or pointwise convolution.
        norm: BatchNorm before it.
        scale: Layer scale after it.
    """

    def __init__(self, layer: Any, *, norm: Any = None, scale: Tensor | None = None) -> None:
        weight = layer.weight.flatten(1).double()
        bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.double()
        if norm is not None:
            factor, shift = batch_norm_affine(norm)
            bias = bias + weight @ shift
            weight = weight * factor
        if scale is not None:
            weight = weight * scale.flatten()[:, None]
            bias = bias * scale.flatten()
        super().__init__(weight.shape[1], weight.shape[0], device="meta")
        self.weight = constant(weight, layer.weight)
        self.bias = constant(bias, layer.weight)

    def forward(
        self, x: Tensor, *, activation: str = "none", residual: Tensor | None = None
    ) -> Tensor:
        """(..., in_features) to (..., out_features).

        Args:
            x: Input.
            activation: 'none' or 'gelu'.
            residual: Added to the output, without an activation.
        """
        pointwise = linear_pointwise() if has_epilogues(x) else None
        if pointwise is not None:
            output: Tensor
            if residual is not None:
                output = pointwise.binary(x, residual, self.weight, self.bias, "add")
            else:
                output = pointwise(x, self.weight, self.bias, activation, [], "none")
            return output
        x = F.linear(x, self.weight, self.bias)
        if activation == "gelu":
            x = F.gelu(x)
        return x if residual is None else residual + x


class FusedLayerNorm(nn.LayerNorm):
    """LayerNorm of a map before a linear layer or at an output, by a Triton kernel on GPUs.

    Args:
        norm: The norm.
        casts: Return the type of autocast instead of single precision, for a linear layer.
    """

    kernels: bool | None = None
    """False never runs the kernel (`use_kernels`)."""

    def __init__(self, norm: Any, casts: bool) -> None:
        super().__init__(norm.normalized_shape, norm.eps, device="meta")
        self.weight, self.bias = norm.weight, norm.bias
        self.casts = casts

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        if self.kernels is False or not runs_kernels(x):
            return super().forward(x)
        dtype, device = x.dtype, x.device.type
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device) if self.casts else torch.float32
        return layer_norm(x, self, dtype)


class FusedFeedForward(nn.Module):
    """Feed-forward network of two linear layers, with norm and residual connection around it.

    Args:
        norm: BatchNorm or LayerNorm before it.
        fc1: First layer.
        fc2: Second layer.
        scale: Layer scale after it.
        residual: Whether to add the input. Without it, the input may not be overwritten.
    """

    def __init__(
        self,
        norm: Any,
        fc1: nn.Module,
        fc2: nn.Module,
        scale: Tensor | None = None,
        *,
        residual: bool = True,
    ) -> None:
        super().__init__()
        is_folded = isinstance(norm, nn.modules.batchnorm._BatchNorm)
        self.norm = nn.Identity() if is_folded or norm is None else FusedLayerNorm(norm, True)
        self.fc1 = FusedLinear(fc1, norm=norm if is_folded else None)
        self.fc2 = FusedLinear(fc2, scale=scale)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """Channels-last map or tokens (..., C) to the same shape; may overwrite its input."""
        if not has_epilogues(x):
            return self._run(x)
        rows = x.reshape(-1, x.shape[-1])
        half = x.dtype == torch.bfloat16
        values = BF16_SLICE * torch.get_num_threads() if half else SLICE
        for part in rows.split(max(values // self.fc1.out_features, 1)):
            part.copy_(self._run(part))
        return rows.view(x.shape)

    def _run(self, x: Tensor) -> Tensor:
        hidden = self.fc1(self.norm(x), activation="gelu")
        output: Tensor = self.fc2(hidden, residual=x if self.residual else None)
        return output


def position_folded(conv: Depthwise) -> Depthwise:
    """Fold the residual connection of a position embedding into the centre of its kernel.

    Returns:
        A convolution of channels-last maps.
    """
    folded = copy.deepcopy(conv)
    taps = folded.weight.data.view(len(folded.weight), -1)
    taps[:, taps.shape[1] // 2] += 1
    folded.channels_last = folded.keeps_dtype = True
    return folded


def without_batch_norms(layers: nn.Sequential) -> nn.Sequential:
    """Fold each BatchNorm into the convolution before it."""
    folded: list[Any] = []
    for layer in layers:
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            factor, shift = batch_norm_affine(layer)
            conv = folded[-1]
            shape = (-1,) + (1,) * (conv.weight.dim() - 1)
            bias = conv.bias.double() * factor + shift
            conv.weight = constant(conv.weight.double() * factor.view(shape), conv.weight)
            conv.bias = constant(bias, conv.bias)
        else:
            folded.append(copy.deepcopy(layer))
    return nn.Sequential(*folded)


def batch_norm_affine(norm: Any) -> tuple[Tensor, Tensor]:
    """Return factor and shift per channel of a BatchNorm in evaluation mode, in float64."""
    factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return factor, norm.bias.double() - norm.running_mean.double() * factor


def constant(value: Tensor, like: Tensor) -> nn.Parameter:
    """Return a parameter without gradient, of the type of another one."""
    return nn.Parameter(value.to(like.dtype), requires_grad=False)
