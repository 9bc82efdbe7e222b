"""Inference-only copies of models: same outputs, folded weights, less work and memory.

What is folded is exact up to rounding:

- BatchNorm into the pointwise convolution behind it (local blocks), or into the convolution before
  it (embeddings of overlapping convolutions);
- the residual connection of the dynamic position embedding into the centre of its kernel;
- layer scale into the linear layer before it.

On CPUs, moreover, GELU and residual connections are done in the epilogue of matrix products
(oneDNN), and feed-forward networks run in slices that fit the cache: their hidden map, the largest
of a block, never reaches the memory.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uniformer_mm.models.blocks import (
    ConvEmbed,
    FeedForward,
    GlobalBlock,
    HourglassBlock,
    LocalBlock,
    on_channels_first,
)
from uniformer_mm.models.layers.depthwise import CONVS, DEPTHWISE
from uniformer_mm.models.layers.recompute import Step
from uniformer_mm.models.uniformer import UniFormer

SLICE = 2**20
"""Hidden values of a feed-forward network that a CPU computes at a time: 4 MB in fp32."""


def fuse(model: nn.Module) -> nn.Module:
    """A copy for inference of a model with UniFormer in it; the model itself stays as it is.

    Args:
        model: A backbone, or what contains one: a detector, a recognizer ...

    Returns:
        The copy, in evaluation mode and without gradients. Its tensors have other names than those
        of checkpoints.

    Raises:
        ValueError: There is no UniFormer in the model, or it has been fused already.
    """
    fused = copy.deepcopy(model).eval().requires_grad_(False)
    backbones = [module for module in fused.modules() if isinstance(module, UniFormer)]
    if not backbones:
        raise ValueError("there is no UniFormer in this model: nothing to fuse")
    for backbone in backbones:
        _fuse(backbone)
    return fused


def _fuse(backbone: UniFormer) -> None:
    for stage in range(1, max(backbone.out_indices) + 2):
        embedding = getattr(backbone, f"patch_embed{stage}")
        if isinstance(embedding, ConvEmbed):
            embedding.proj = _without_batch_norms(embedding.proj)
        blocks = getattr(backbone, f"blocks{stage}")
        for index, block in enumerate(blocks):
            if isinstance(block, HourglassBlock):
                block.pos_embed = _position_folded(block.pos_embed)
                block.mlp = FusedFeedForward(None, block.mlp, residual=False)  # type: ignore[assignment]
                block.attn.qkv = FusedLinear(block.attn.qkv)
                block.attn.proj = FusedLinear(block.attn.proj)
            elif isinstance(block, GlobalBlock):
                blocks[index] = FusedGlobalBlock(block)
            elif isinstance(block, LocalBlock):
                blocks[index] = FusedLocalBlock(block)
            else:
                raise ValueError("this model has been fused already")


class FusedLocalBlock(nn.Module):
    """What a `LocalBlock` computes in evaluation mode.

    Args:
        block: The block, whose parts are taken over.
    """

    def __init__(self, block: LocalBlock) -> None:
        super().__init__()
        self.pos_embed = _position_folded(block.pos_embed)
        self.conv1 = FusedLinear(block.conv1, norm=block.norm1)
        self.attn = block.attn
        self.conv2 = FusedLinear(block.conv2, scale=block.gamma_1)
        self.mlp = FusedFeedForward(block.norm2, block.mlp, block.gamma_2)

    def forward(self, x: Tensor) -> Tensor:
        """Channels-last map to channels-last map of the same shape."""
        x = on_channels_first(self.pos_embed, x)
        local = on_channels_first(self.attn, self.conv1(x))
        return self.mlp(self.conv2(local, residual=x))


class FusedGlobalBlock(nn.Module):
    """What a `GlobalBlock` or `DividedGlobalBlock` computes in evaluation mode.

    Args:
        block: The block, whose parts are taken over.
    """

    def __init__(self, block: GlobalBlock) -> None:
        super().__init__()
        self.mlp = FusedFeedForward(block.norm2, block.mlp, block.gamma_2)
        block.pos_embed = _position_folded(block.pos_embed)
        block.attn.qkv = FusedLinear(block.attn.qkv)
        block.attn.proj = FusedLinear(block.attn.proj, scale=block.gamma_1)
        block.gamma_1 = block.gamma_2 = None
        del block.norm2, block.mlp
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """Channels-last map to channels-last map of the same shape."""
        x = on_channels_first(self.block.pos_embed, x)
        return self.mlp(x + self.block.aggregate(x))


class FusedFeedForward(nn.Module):
    """Norm, feed-forward network and the residual connection around them.

    Args:
        norm: BatchNorm, LayerNorm or nothing.
        mlp: The network.
        scale: Layer scale behind it.
        residual: Whether the input is added.
    """

    def __init__(
        self,
        norm: nn.Module | None,
        mlp: FeedForward,
        scale: Tensor | None = None,
        *,
        residual: bool = True,
    ) -> None:
        super().__init__()
        folded = isinstance(norm, nn.modules.batchnorm._BatchNorm)
        self.norm = nn.Identity() if folded or norm is None else norm
        self.fc1 = FusedLinear(mlp.fc1, norm=norm if folded else None)
        self.fc2 = FusedLinear(mlp.fc2, scale=scale)
        self.residual = residual

    def forward(self, x: Tensor, *steps: Step) -> Tensor:
        """Channels-last map or tokens (..., C) to the same shape.

        Args:
            x: Input; without `steps` it may be overwritten.
            steps: What comes before.
        """
        for step in steps:
            x = step(x)
        if not _has_epilogues(x):
            hidden = self.fc1(self.norm(x), activation="gelu")
            return self.fc2(hidden, residual=x if self.residual else None)
        rows = x.reshape(-1, x.shape[-1])
        for some in rows.split(max(SLICE // self.fc1.out_features, 1)):
            hidden = self.fc1(self.norm(some), activation="gelu")
            some.copy_(self.fc2(hidden, residual=some if self.residual else None))
        return rows.view(x.shape)


class FusedLinear(nn.Linear):
    """Linear layer with what follows it in the same kernel, where there is such a kernel.

    Args:
        layer: Linear layer or pointwise convolution.
        norm: BatchNorm in front of it.
        scale: Layer scale behind it.
    """

    def __init__(self, layer: Any, *, norm: Any = None, scale: Tensor | None = None) -> None:
        weight = layer.weight.flatten(1).double()
        bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.double()
        if norm is not None:
            factor, shift = _affine(norm)
            bias = bias + weight @ shift
            weight = weight * factor
        if scale is not None:
            weight = weight * scale.flatten()[:, None]
            bias = bias * scale.flatten()
        super().__init__(weight.shape[1], weight.shape[0], device="meta")
        self.weight = _constant(weight, layer.weight)
        self.bias = _constant(bias, layer.weight)

    def forward(
        self, x: Tensor, *, activation: str = "none", residual: Tensor | None = None
    ) -> Tensor:
        """(..., in_features) to (..., out_features).

        Args:
            x: Input.
            activation: 'none' or 'gelu'.
            residual: Added to the output, without an activation.
        """
        if _has_epilogues(x):
            pointwise = torch.ops.mkldnn._linear_pointwise
            if residual is not None:
                return pointwise.binary(x, residual, self.weight, self.bias, "add")
            return pointwise(x, self.weight, self.bias, activation, [], "none")
        x = F.linear(x, self.weight, self.bias)
        if activation == "gelu":
            x = F.gelu(x)
        return x if residual is None else residual + x


def _has_epilogues(x: Tensor) -> bool:
    """Whether oneDNN's products with epilogues can take `x`: they have no gradient."""
    return (
        not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and not (torch.is_grad_enabled() and x.requires_grad)
        and not torch.is_autocast_enabled("cpu")
    )


def _position_folded(conv: Any) -> nn.Module:
    """A depthwise convolution whose kernel adds its input."""
    weight = conv.weight.clone()
    taps = weight.view(len(weight), -1)
    taps[:, taps.shape[1] // 2] += 1
    folded = _conv(conv, weight, conv.bias)
    folded.keeps_dtype = True  # type: ignore[assignment]
    return folded


def _without_batch_norms(layers: nn.Sequential) -> nn.Sequential:
    """Convolutions that do what the BatchNorms behind them did."""
    kept: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            factor, shift = _affine(layer)
            conv: Any = kept.pop()
            shape = (-1,) + (1,) * (conv.weight.dim() - 1)
            weight = conv.weight.double() * factor.view(shape)
            kept.append(_conv(conv, weight, conv.bias.double() * factor + shift))
        else:
            kept.append(layer)
    return nn.Sequential(*kept)


def _affine(norm: Any) -> tuple[Tensor, Tensor]:
    """Factor and shift per channel, in double precision."""
    factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return factor, norm.bias.double() - norm.running_mean.double() * factor


def _conv(like: Any, weight: Tensor, bias: Tensor) -> nn.Module:
    """A convolution with the geometry of another one."""
    depthwise = like.groups > 1
    conv = (DEPTHWISE if depthwise else CONVS)[weight.dim() - 2](
        like.in_channels,
        like.out_channels,
        like.kernel_size,
        stride=like.stride,
        padding=like.padding,
        groups=like.groups,
        device="meta",
    )
    if depthwise:
        conv.kernels = like.kernels
    conv.weight = _constant(weight, like.weight)
    conv.bias = _constant(bias, like.weight)
    return conv


def _constant(value: Tensor, like: Tensor) -> nn.Parameter:
    return nn.Parameter(value.to(like.dtype), requires_grad=False)
