"""Fold BatchNorm, layer scale and residual connections into the weights for faster inference.

Results are exact up to rounding.
"""

import copy

from torch import Tensor, nn

from uniformer_mm.models.layers.depthwise import use_kernels
from uniformer_mm.models.layers.fused import (
    FusedFeedForward,
    FusedLayerNorm,
    FusedLinear,
    position_folded,
    without_batch_norms,
)
from uniformer_mm.models.layers.fused_op import kernel_takes, project_and_feed
from uniformer_mm.models.uniformer import (
    ConvEmbed,
    DividedGlobalBlock,
    GlobalBlock,
    LocalBlock,
    UniFormer,
)
from uniformer_mm.models.uniformer_light import HourglassBlock


def fuse(model: nn.Module) -> nn.Module:
    """Return a fused copy of a model for inference. The model itself stays as it is.

    Args:
        model: A backbone, or a model that contains one, such as a detector.

    Returns:
        The copy, in evaluation mode and without gradients. Its state-dict keys are not those of
        checkpoints.

    Raises:
        ValueError: The model contains no UniFormer, or it has been fused already.
    """
    fused = copy.deepcopy(model).eval().requires_grad_(False)
    backbones = [module for module in fused.modules() if isinstance(module, UniFormer)]
    if not backbones:
        raise ValueError("there is no UniFormer in this model: nothing to fuse")
    for backbone in backbones:
        for number, stage in enumerate(backbone.stages, start=1):
            if isinstance(stage.patch_embed, ConvEmbed):
                stage.patch_embed.proj = without_batch_norms(stage.patch_embed.proj)
            else:
                stage.patch_embed.norm = FusedLayerNorm(stage.patch_embed.norm, casts=False)
            if stage.norm is not None:
                setattr(backbone, f"norm{number}", FusedLayerNorm(stage.norm, casts=False))
            for index, block in enumerate(stage.blocks):
                stage.blocks[index] = _fused(block)
        if backbone.kernels is not None:
            use_kernels(backbone, backbone.kernels)
    return fused


def _fused(block: nn.Module) -> nn.Module:
    if isinstance(block, HourglassBlock):
        return FusedHourglassBlock(block)
    if isinstance(block, GlobalBlock):
        return FusedGlobalBlock(block)
    if isinstance(block, LocalBlock):
        return FusedLocalBlock(block)
    raise ValueError("this model has been fused already")


class FusedLocalBlock(nn.Module):
    """`LocalBlock` in evaluation mode.

    Args:
        block: The block, whose parts are taken over.
    """

    def __init__(self, block: LocalBlock) -> None:
        super().__init__()
        self.pos_embed = position_folded(block.pos_embed)
        self.conv1 = FusedLinear(block.conv1, norm=block.norm1)
        self.attn = block.attn
        self.attn.channels_last = True
        self.conv2 = FusedLinear(block.conv2, scale=block.gamma_1)
        self.mlp = FusedFeedForward(block.norm2, block.mlp.fc1, block.mlp.fc2, block.gamma_2)

    def forward(self, x: Tensor) -> Tensor:
        """Channels-last map to channels-last map of the same shape."""
        x = self.pos_embed(x)
        attended = self.attn(self.conv1(x))
        if self.attn.kernels is not False and kernel_takes(attended, self.mlp.fc1.out_features):
            return project_and_feed(attended, x, self.conv2, self.mlp.fc1, self.mlp.fc2)
        return self.mlp(self.conv2(attended, residual=x))


class FusedGlobalBlock(nn.Module):
    """`GlobalBlock` or `DividedGlobalBlock` in evaluation mode.

    Args:
        block: The block, whose parts are taken over.
    """

    def __init__(self, block: GlobalBlock) -> None:
        super().__init__()
        self.pos_embed = position_folded(block.pos_embed)
        self.divided = block if isinstance(block, DividedGlobalBlock) else None
        self.norm1 = FusedLayerNorm(block.norm1, casts=True)
        self.attn = block.attn
        self.attn.qkv = FusedLinear(block.attn.qkv)
        self.attn.proj = FusedLinear(block.attn.proj, scale=block.gamma_1)
        self.mlp = FusedFeedForward(block.norm2, block.mlp.fc1, block.mlp.fc2, block.gamma_2)

    def forward(self, x: Tensor) -> Tensor:
        """Channels-last map to channels-last map of the same shape."""
        x = self.pos_embed(x)
        frames = self.divided.attend_over_time(x) if self.divided else x
        return self.mlp(x + self.attn(self.norm1(frames)).view(x.shape))


class FusedHourglassBlock(nn.Module):
    """`HourglassBlock` in evaluation mode.

    Args:
        block: The block, whose parts are taken over.
    """

    def __init__(self, block: HourglassBlock) -> None:
        super().__init__()
        self.pos_embed = position_folded(block.pos_embed)
        self.block = block
        block.attn.qkv = FusedLinear(block.attn.qkv)
        block.attn.proj = FusedLinear(block.attn.proj)
        mlp = FusedFeedForward(None, block.mlp.fc1, block.mlp.fc2, residual=False)
        block.mlp = mlp  # type: ignore[assignment]
        del block.pos_embed

    def forward(
        self, x: Tensor, class_token: Tensor, scores: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Update a map, the class token and the scores."""
        return self.block.attend_kept(self.pos_embed(x), class_token, scores)
