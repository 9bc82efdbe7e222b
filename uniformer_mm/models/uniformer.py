"""The UniFormer backbone, for images and videos: backbone, blocks, attention, embeddings.

Between the parts of the model a feature map is channels-last, (B, H, W, C) or (B, T, H, W, C).
LayerNorm, linear layers and attention take it as it is. Convolutions see it through a view whose
memory format is `torch.channels_last`, so nothing is copied. Sub-module names are those of the
official checkpoints.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from uniformer_mm.models.archs import (
    ARCH_DEFAULTS,
    ARCHS,
    MIN_SIZE,
    NUM_STAGES,
    PRETRAINED,
    Settings,
    resolve_options,
)
from uniformer_mm.models.layers.checkpoint import run_block
from uniformer_mm.models.layers.depthwise import DEPTHWISE, use_kernels
from uniformer_mm.models.layers.devices import runs_on_gpu
from uniformer_mm.models.layers.pointwise import POINTWISE
from uniformer_mm.models.layers.recompute import (
    BATCH_NORMS_BEFORE_CONV,
    GELU,
    LayerNorm,
    recompute_activations,
)

BLOCK_NORM_EPS = 1e-6
"""Epsilon of the LayerNorms in blocks and at outputs. Both known ports have 1e-5 by mistake."""

PATCH_NORM_EPS = 1e-5
"""Epsilon of the LayerNorm in patch embeddings: PyTorch's default, also in the official code."""

CONVS: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
BATCH_NORMS: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


@MODELS.register_module()
class UniFormer(BaseModule):
    """UniFormer: local relation aggregation in stages 1 and 2, global in stages 3 and 4.

    "UniFormer: Unifying Convolution and Self-attention for Visual Recognition", arXiv 2201.09450
    (images, dense prediction), and "UniFormer: Unified Transformer for Efficient Spatiotemporal
    Representation Learning", arXiv 2201.04676 (videos). It is registered in mmengine's root
    registry: from the scope of any codebase it is ``type='mmengine.UniFormer'``.

    State-dict keys and shapes match the official checkpoints.

    Args:
        arch: A name from `ARCHS`, or a dict with `depths` and any other key of `ARCH_DEFAULTS`:
            `embed_dims` (one per stage), `head_dim`, `mlp_ratio`, `stem` ('patch': unpadded
            strided convolution and LayerNorm; 'conv': overlapping 3x3 convolutions and BatchNorm),
            `downsample` (the same choice for stages 2 to 4), `layer_scale` ('none', 'global':
            blocks of stages 3 and 4, 'all').
        dims: 2 for images, 3 for videos.
        in_channels: Channels of the input.
        attention: 'global'; 'window' for windows in every block of stage 3; 'hybrid' for windows
            in stage 3 except in every fourth block. Stage 4 is always global. All three have
            the same parameters. Videos have 'global' only.
        window_size: Side of the attention windows in tokens of stage 3 (16 pixels each).
        head_dim: Channels of an attention head, if not the arch's. It changes the result but no
            shape, so it has to be the one a checkpoint was trained with.
        qkv_bias: Whether query, key and value have a bias.
        drop_rate: Dropout probability after the stem and in projections.
        attn_drop_rate: Dropout probability of attention weights.
        drop_path_rate: Stochastic depth of the last block; it rises linearly from 0 at the first.
        layer_scale: 'none', 'global' or 'all', if not the arch's.
        layer_scale_init: Initial value of the layer scale.
        split: Divide the attention of a video into a temporal and a spatial step.
        std: Let the embeddings of stages 2 to 4 of a video see three frames instead of one.
        output_norm: 'layer' for a LayerNorm at each output (dense prediction, pose), 'batch' for
            one BatchNorm after the last stage (classification, videos). Default: 'layer' for
            images, 'batch' for videos.
        out_indices: Stages to return, from 0. An int gives a tensor, a sequence a tuple.
            Default: all four with LayerNorm, an int for the last one with BatchNorm. Stages
            after the last one returned are not built.
        frozen_stages: -1 freezes nothing, 0 the first patch embedding, k stages 1 to k with their
            embeddings and output norms: no gradient, and evaluation mode.
        norm_eval: Keep every BatchNorm in evaluation mode while training.
        with_cp: Activation checkpointing: True for every block, or the number of blocks (the
            first ones) of each stage. Slower, less memory, the same result.
        kernels: Whether GPUs run depthwise convolutions, and more after `fuse`, by this package's
            Triton kernels. None: where they are faster, which is without gradients and for videos
            (docs/performance.md). No difference on CPUs.
        init_cfg: ``dict(type='Pretrained', checkpoint=PATH_OR_URL)`` loads ImageNet or other
            UniFormer weights and raises if they do not fit; otherwise as in mmengine.

    Raises:
        ValueError: An argument has a value that is not listed here.
    """

    archs: Mapping[str, Mapping[str, Any]] = ARCHS
    arch_defaults: Mapping[str, Any] = ARCH_DEFAULTS

    kernels: bool | None = None
    recompute = True
    """Whether training recomputes cheap activations instead of storing them."""

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "small",
        dims: int = 2,
        in_channels: int = 3,
        attention: str = "global",
        window_size: int = 14,
        head_dim: int | None = None,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        layer_scale: str | None = None,
        layer_scale_init: float = 1e-6,
        split: bool = False,
        std: bool = False,
        output_norm: str | None = None,
        out_indices: int | Sequence[int] | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool | Sequence[int] = False,
        kernels: bool | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        settings = resolve_options(locals(), self.archs, self.arch_defaults)  # all arguments
        super().__init__(init_cfg=_load_strictly(init_cfg))
        self.dims = dims
        self.in_channels = in_channels
        self.embed_dims = settings.arch["embed_dims"]
        self.head_dim = settings.arch["head_dim"]
        self.output_norm = settings.output_norm
        self.returns_tuple = settings.returns_tuple
        self.out_indices = settings.out_indices
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.checkpointed_blocks = settings.checkpointed_blocks

        # Stages after the last output would never get a gradient: they are not built.
        for i in range(max(self.out_indices) + 1):
            self.add_module(f"patch_embed{i + 1}", self._patch_embed(i, settings, std))
            blocks = nn.ModuleList()
            for j, drop_path in enumerate(settings.drop_paths[i]):
                options: dict[str, Any] = {
                    "mlp_ratio": settings.arch["mlp_ratio"],
                    "drop": drop_rate,
                    "drop_path": drop_path,
                    "layer_scale": settings.layer_scales[i],
                }
                if i < 2:
                    blocks.append(LocalBlock(dims, self.embed_dims[i], **options))
                    continue
                options.update(qkv_bias=qkv_bias, attn_drop=attn_drop_rate)
                if i == 2 and settings.windows[j]:
                    options["window_size"] = settings.windows[j]
                blocks.append(self._global_block(i, j, settings, split, options))
            self.add_module(f"blocks{i + 1}", blocks)
            if self.output_norm == "layer" and i in self.out_indices:
                self.add_module(f"norm{i + 1}", nn.LayerNorm(self.embed_dims[i], BLOCK_NORM_EPS))
        if self.output_norm == "batch":
            self.norm = BATCH_NORMS[dims](self.embed_dims[-1])
        self.pos_drop = nn.Dropout(drop_rate) if drop_rate else nn.Identity()
        self.apply(init_parameters)
        use_kernels(self, kernels)
        self._freeze()

    def forward(self, x: Tensor) -> Any:
        """Features of images (B, C, H, W) or clips (B, C, T, H, W), at least 32 x 32 pixels.

        Returns:
            One channels-first map per entry of `out_indices`: stage i (from 0) has
            `embed_dims[i]` channels and 1 / (4 * 2**i) of the height and width, rounded down;
            clips have half the frames, rounded up.

        Raises:
            ValueError: Wrong rank, channels or a size below 32.
        """
        x = self._channels_last(x)
        outputs = {}
        with self._stored_activations(x):
            for i, stage in enumerate(self.stages):
                x = stage.patch_embed(x)
                if i == 0:
                    x = self.pos_drop(x)
                for j, block in enumerate(stage.blocks):
                    x = run_block(block, x, checkpointed=j < self.checkpointed_blocks[i])
                if i in self.out_indices:
                    outputs[i] = self._output(x, stage.norm)
        return self._select(outputs)

    @property
    def stages(self) -> list["Stage"]:
        """The stages that are built."""
        stages = []
        for i in range(1, max(self.out_indices) + 2):
            parts = (getattr(self, f"{part}{i}", None) for part in Stage._fields)
            stages.append(Stage(*parts))  # type: ignore[arg-type]
        return stages

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """Depth of a parameter for layer-wise learning-rate decay, and the number of depths.

        The first embedding has depth 0, the k-th of all blocks k, and a later embedding that of the
        block after it. Output norms and parameters outside the backbone have the last depth.

        Args:
            param_name: Name of the parameter in the model.
            prefix: What precedes the names of the backbone's parameters there, with its dot.
        """
        blocks = [len(stage.blocks) for stage in self.stages]
        count = sum(blocks) + 2
        own = re.fullmatch(rf"{re.escape(prefix)}(patch_embed|blocks)(\d)\.(\d*).*", param_name)
        if own is None:
            return count - 1, count
        if own[1] == "patch_embed" and own[2] == "1":
            return 0, count
        return sum(blocks[: int(own[2]) - 1]) + int(own[3] or 0) + 1, count

    def train(self, mode: bool = True) -> "UniFormer":
        """Set the mode, except for frozen stages and (with `norm_eval`) for BatchNorm."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def _patch_embed(self, stage: int, settings: Settings, std: bool) -> nn.Module:
        """Build the embedding of a stage: 4 times fewer rows and columns at first, then 2."""
        source = self.embed_dims[stage - 1] if stage else self.in_channels
        kind = settings.arch["downsample" if stage else "stem"]
        if kind == "conv":
            # The first stage halves the frames of a video as well.
            strides = [(1, 2, 2)] if stage else [(1, 2, 2), (2, 2, 2)]
            return ConvEmbed(self.dims, source, self.embed_dims[stage], strides)
        patch, stride_time = (2, 1) if stage else (4, 2)
        kernel_time = 3 if std or stage == 0 else 1
        size = (kernel_time, patch, patch)
        stride = (stride_time, patch, patch)
        return PatchEmbed(self.dims, source, self.embed_dims[stage], size, stride)

    def _global_block(
        self, stage: int, index: int, settings: Settings, split: bool, options: Any
    ) -> nn.Module:
        """Build a block of stage 2 or 3, both counted from 0."""
        dim = self.embed_dims[stage]
        if split:
            return DividedGlobalBlock(dim, self.head_dim, **options)
        return GlobalBlock(self.dims, dim, self.head_dim, **options)

    def _channels_last(self, x: Tensor) -> Tensor:
        self._check_input(x)
        memory_format = torch.channels_last if self.dims == 2 else torch.channels_last_3d
        return x.contiguous(memory_format=memory_format).movedim(1, -1)

    def _stored_activations(self, x: Tensor) -> AbstractContextManager[Any]:
        return recompute_activations(x) if self.recompute else nullcontext()

    def _output(self, x: Tensor, norm: nn.Module | None) -> Tensor:
        x = self.norm(x.movedim(-1, 1)) if norm is None else norm(x).movedim(-1, 1)
        # mmcv's compiled RoIAlign reads its input as packed channels-first without checking.
        return x.contiguous()

    def _select(self, outputs: Mapping[int, Tensor]) -> Tensor | tuple[Tensor, ...]:
        selected = tuple(outputs[i] for i in self.out_indices)
        return selected if self.returns_tuple else selected[0]

    def _check_input(self, x: Tensor) -> None:
        layout = "(B, C, H, W)" if self.dims == 2 else "(B, C, T, H, W)"
        if x.dim() != self.dims + 2:
            raise ValueError(
                f"UniFormer(dims={self.dims}) takes {layout}, got shape {tuple(x.shape)}"
            )
        if x.shape[1] != self.in_channels:
            raise ValueError(
                f"UniFormer(in_channels={self.in_channels}) got {x.shape[1]} channels"
                f" in an input {layout} of shape {tuple(x.shape)}"
            )
        if x.shape[-2] < MIN_SIZE or x.shape[-1] < MIN_SIZE:
            raise ValueError(
                f"UniFormer takes at least {MIN_SIZE} x {MIN_SIZE} pixels,"
                f" got height {x.shape[-2]} and width {x.shape[-1]}: pad or enlarge the input"
            )

    def _freeze(self) -> None:
        for module in self._frozen():
            module.eval()
            module.requires_grad_(False)

    def _frozen(self) -> list[nn.Module]:
        """Return the modules that `frozen_stages` freezes."""
        frozen = [self.stages[0].patch_embed] if self.frozen_stages >= 0 else []
        for stage in self.stages[: max(self.frozen_stages, 0)]:
            frozen += [module for module in stage if module is not None]
        if self.frozen_stages == NUM_STAGES and self.output_norm == "batch":
            frozen.append(self.norm)
        return frozen


class Stage(NamedTuple):
    """Modules of a stage: embedding, blocks, and LayerNorm of its output, if it has one."""

    patch_embed: nn.Module
    blocks: nn.ModuleList
    norm: nn.Module | None


class LocalBlock(nn.Module):
    """DPE, local MHRA and feed-forward network (arXiv 2201.09450, Section 3.3).

    The local relation aggregator is a 5x5(x5) depthwise convolution between two pointwise ones,
    without an activation in between. Its attribute is called `attn` in the official checkpoints.

    Args:
        dims: 2 for images, 3 for videos.
        dim: Channels C.
        mlp_ratio: Hidden channels of the feed-forward network over C.
        drop: Dropout probability in the feed-forward network.
        drop_path: Probability to drop a branch for a sample (stochastic depth).
        layer_scale: Initial value of the learned scale of each branch; None for no scale.
    """

    def __init__(
        self,
        dims: int,
        dim: int,
        *,
        mlp_ratio: float = 4.0,
        drop: float = 0.0,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        # Norms come first: mmcv's `fuse_conv_bn` takes a BatchNorm to follow the convolution that
        # is registered before it.
        self.norm1 = BATCH_NORMS_BEFORE_CONV[dims](dim)
        self.norm2 = BATCH_NORMS_BEFORE_CONV[dims](dim)
        self.pos_embed = DEPTHWISE[dims](dim, 3)
        self.conv1 = POINTWISE[dims](dim, dim, 1)
        self.conv2 = POINTWISE[dims](dim, dim, 1)
        self.attn = DEPTHWISE[dims](dim, 5)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        hidden = int(dim * mlp_ratio)
        self.mlp = FeedForward(
            POINTWISE[dims](dim, hidden, 1), POINTWISE[dims](hidden, dim, 1), drop
        )
        self.gamma_1 = layer_scale_parameter((1, dim) + (1,) * dims, layer_scale)
        self.gamma_2 = layer_scale_parameter((1, dim) + (1,) * dims, layer_scale)

    def forward(self, x: Tensor) -> Tensor:
        """Channels-last map to channels-last map of the same shape."""
        x = x.movedim(-1, 1)
        x = x + self.pos_embed(x)
        x = x + self.drop_path(
            scale(self.gamma_1, self.conv2(self.attn(self.conv1(self.norm1(x)))))
        )
        x = x + self.drop_path(scale(self.gamma_2, self.mlp(self.norm2(x))))
        return x.movedim(1, -1)


class GlobalBlock(nn.Module):
    """DPE, global MHRA and feed-forward network (arXiv 2201.09450, Sections 3.3 and 3.4).

    Args: as for `LocalBlock`, and:
        head_dim: Channels of one attention head.
        window_size: Side of the attention windows (images only), 0 for global attention.
        qkv_bias: Whether query, key and value have a bias.
        attn_drop: Dropout probability of attention weights.
    """

    def __init__(
        self,
        dims: int,
        dim: int,
        head_dim: int,
        *,
        window_size: int = 0,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        drop: float = 0.0,
        attn_drop: float = 0.0,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.pos_embed = DEPTHWISE[dims](dim, 3, channels_last=True)
        self.norm1 = LayerNorm(dim, eps=BLOCK_NORM_EPS)
        self.attn = Attention(
            dim,
            head_dim,
            window_size=window_size,
            qkv_bias=qkv_bias,
            attn_drop=attn_drop,
            proj_drop=drop,
        )
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.norm2 = LayerNorm(dim, eps=BLOCK_NORM_EPS)
        hidden = int(dim * mlp_ratio)
        self.mlp = FeedForward(nn.Linear(dim, hidden), nn.Linear(hidden, dim), drop)
        self.gamma_1 = layer_scale_parameter((dim,), layer_scale)
        self.gamma_2 = layer_scale_parameter((dim,), layer_scale)

    def forward(self, x: Tensor) -> Tensor:
        """Channels-last map to channels-last map of the same shape."""
        x = x + self.pos_embed(x)
        x = x + self.drop_path(scale(self.gamma_1, self.attn(self.norm1(x))))
        return x + self.drop_path(scale(self.gamma_2, self.mlp(self.norm2(x))))


class DividedGlobalBlock(GlobalBlock):
    """Global block whose attention is divided into a temporal and a spatial step (videos).

    The option `SPLIT` of the official video code. The spatial step reads the temporal step's
    output, but its residual starts from the input of both. Temporal attention starts as zero
    queries, keys and values with an all-one projection, so a block pretrained on images starts
    out unchanged.

    Args: as for `GlobalBlock`, without windows.
    """

    def __init__(self, dim: int, head_dim: int, **options: Any) -> None:
        super().__init__(3, dim, head_dim, **options)
        self.t_norm = LayerNorm(dim, eps=BLOCK_NORM_EPS)
        self.t_attn = Attention(
            dim,
            head_dim,
            qkv_bias=options.get("qkv_bias", True),
            attn_drop=options.get("attn_drop", 0.0),
            proj_drop=options.get("drop", 0.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H, W, C) map to a map of the same shape."""
        x = x + self.pos_embed(x)
        frames = self.attend_over_time(x)
        spatial = self.attn(self.norm1(frames)).view(x.shape)
        x = x + self.drop_path(scale(self.gamma_1, spatial))
        return x + self.drop_path(scale(self.gamma_2, self.mlp(self.norm2(x))))

    def attend_over_time(self, x: Tensor) -> Tensor:
        """Temporal step: (B, T, H, W, C) map to its frames (B * T, H, W, C)."""
        x = x.permute(0, 2, 3, 1, 4)  # (B, H, W, T, C)
        tubes = self.t_norm(x).flatten(0, 2)
        x = x + self.drop_path(self.t_attn(tubes).view(x.shape))
        return x.permute(0, 3, 1, 2, 4).flatten(0, 1)


class Attention(nn.Module):
    """Global MHRA: multi-head self-attention over a map, or inside windows of it.

    UniFormer (arXiv 2201.09450), Sections 3.3 and 3.4. The packed projection is laid out as
    (3, heads, head_dim); the scale is ``head_dim ** -0.5``.

    Args:
        dim: Channels C of the tokens.
        head_dim: Channels of one head; must divide `dim`.
        window_size: Side of the non-overlapping windows of an image, 0 for none.
        qkv_bias: Whether the packed query / key / value projection has a bias.
        attn_drop: Dropout probability of the attention weights.
        proj_drop: Dropout probability of the output.
    """

    fused = True
    """Class-wide or per-module switch: False computes the softmax in plain tensor operations."""

    def __init__(
        self,
        dim: int,
        head_dim: int,
        *,
        window_size: int = 0,
        qkv_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads = dim // head_dim
        self.window_size = window_size
        self.attn_drop = attn_drop
        self.qkv = nn.Linear(dim, dim * 3, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop) if proj_drop else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Channels-last map or tokens, (B, ..., C), to the same shape."""
        if self.window_size:
            return self.project(self._attend_windows(x))
        tokens = x.flatten(1, -2)
        return self.project(self.attend_heads(self.qkv(tokens)).view(x.shape))

    def _attend_windows(self, x: Tensor) -> Tensor:
        # As in the official code, padded tokens are not masked: they are zero, so their query, key
        # and value are the bias, and the projection can skip them.
        # On GPUs it is cheaper to copy x than its projections. In a compiled graph, concatenating
        # the bias would fix the size.
        if torch.compiler.is_compiling() or runs_on_gpu(x):
            qkv = self.qkv(partition(x, self.window_size))
        else:
            qkv = partition(self.qkv(x), self.window_size, padding=self.qkv.bias)
        return merge(self.attend_heads(qkv), self.window_size, x.shape)

    def attend_heads(self, qkv: Tensor) -> Tensor:
        """Packed projections (B, N, 3 C) to the weighted values of all heads (B, N, C)."""
        return self.attend(*self.split(qkv)).transpose(1, 2).flatten(2)

    def split(self, qkv: Tensor) -> tuple[Tensor, ...]:
        """Packed projections (B, N, 3 C) to query, key and value (B, heads, N, head_dim)."""
        qkv = qkv.unflatten(-1, (3, self.num_heads, -1))
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Weighted values (B, heads, N, head_dim)."""
        attend = F.scaled_dot_product_attention if self.fused else softmax_attention
        return attend(query, key, value, dropout_p=self.attn_drop if self.training else 0.0)

    def project(self, x: Tensor) -> Tensor:
        """Output projection, (..., C) to (..., C)."""
        x = self.proj(x)
        return self.proj_drop(x)


def softmax_attention(query: Tensor, key: Tensor, value: Tensor, dropout_p: float = 0.0) -> Tensor:
    """`scaled_dot_product_attention` in plain tensor operations, (B, heads, N, head_dim)."""
    return F.dropout(attention_weights(query, key), dropout_p) @ value


def attention_weights(query: Tensor, key: Tensor) -> Tensor:
    """Attention weights (B, heads, M, N) of M queries for N keys, both (B, heads, ., head_dim)."""
    weights = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    return weights.softmax(dim=-1)


def partition(x: Tensor, size: int, padding: Tensor | None = None) -> Tensor:
    """Cut a (B, H, W, C) map into windows (B * rows * columns, size * size, C).

    Args:
        x: The map, padded on the right and at the bottom to a multiple of `size`.
        size: Side of the windows.
        padding: Value of a padded token (C,); None for zeros.
    """
    batch, height, width, channels = x.shape
    rows, columns = _num_windows(height, size), _num_windows(width, size)
    bottom, right = rows * size - height, columns * size - width
    if padding is None:
        x = F.pad(x, (0, 0, 0, right, 0, bottom))
    else:
        padding = padding.to(x.dtype)
        x = torch.cat([x, padding.expand(batch, bottom, width, channels)], dim=1)
        x = torch.cat([x, padding.expand(batch, rows * size, right, channels)], dim=2)
    # (B, rows, size, columns, size, C) to (B, rows, columns, size, size, C)
    grid = x.reshape(batch, rows, size, columns, size, channels).transpose(2, 3)
    return grid.reshape(-1, size * size, channels)


def merge(windows: Tensor, size: int, shape: Sequence[int]) -> Tensor:
    """Merge windows (B * rows * columns, size * size, C) into a map of shape (B, H, W, C)."""
    batch, height, width, channels = shape
    rows, columns = _num_windows(height, size), _num_windows(width, size)
    grid = windows.reshape(batch, rows, columns, size, size, channels).transpose(2, 3)
    return grid.reshape(batch, rows * size, columns * size, channels)[:, :height, :width]


def _num_windows(tokens: int, size: int) -> int:
    # No remainders, and no quotients of negative numbers, which ONNX does not round down: export
    # derives shapes for every height and width from this.
    return (tokens + size - 1) // size


class FeedForward(nn.Module):
    """Two pointwise layers, linear or convolutional, with an exact (erf) GELU between."""

    def __init__(self, fc1: nn.Module, fc2: nn.Module, drop: float = 0.0) -> None:
        super().__init__()
        self.fc1 = fc1
        self.act = GELU()
        self.fc2 = fc2
        self.drop = nn.Dropout(drop) if drop else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Any shape that the two layers take to the same shape."""
        x = self.drop(self.act(self.fc1(x)))
        return self.drop(self.fc2(x))


class PatchEmbed(nn.Module):
    """Patch embedding: an unpadded strided convolution, then LayerNorm over the channels.

    Sizes are rounded down: 333 pixels give 83, 41, 20 and 10 tokens. Time is padded by half of the
    kernel.

    Args:
        dims: 2 for images, 3 for videos.
        in_channels: Channels of the input.
        dim: Channels C of the output.
        kernel_size: Along time, height and width; images have no time.
        stride: The same.
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        dim: int,
        kernel_size: tuple[int, int, int],
        stride: tuple[int, int, int],
    ) -> None:
        super().__init__()
        padding = (kernel_size[0] // 2, 0, 0)
        self.norm = nn.LayerNorm(dim, eps=PATCH_NORM_EPS)
        self.proj = CONVS[dims](
            in_channels, dim, kernel_size[-dims:], stride[-dims:], padding[-dims:]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Channels-last map to a smaller channels-last map."""
        return self.norm(self.proj(x.movedim(-1, 1)).movedim(1, -1))


class ConvEmbed(nn.Module):
    """Patch embedding of overlapping 3x3(x3) convolutions with BatchNorm ("plus" stem).

    Args:
        dims: 2 for images, 3 for videos.
        in_channels: Channels of the input.
        dim: Channels C of the output.
        strides: Of each convolution along time, height and width; images have no time. All
            convolutions but the last are followed by GELU and have C / 2 output channels.
    """

    def __init__(
        self, dims: int, in_channels: int, dim: int, strides: Sequence[tuple[int, int, int]]
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for stride in strides[:-1]:
            conv = CONVS[dims](in_channels, dim // 2, 3, stride[-dims:], 1)
            layers += [conv, BATCH_NORMS[dims](dim // 2), nn.GELU()]
            in_channels = dim // 2
        layers += [CONVS[dims](in_channels, dim, 3, strides[-1][-dims:], 1), BATCH_NORMS[dims](dim)]
        self.proj = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Channels-last map to a smaller channels-last map."""
        return self.proj(x.movedim(-1, 1)).movedim(1, -1)


class DropPath(nn.Module):
    """Stochastic depth (arXiv 1603.09382): drops a residual branch per sample while training.

    What is kept is divided by the probability of keeping it.
    """

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) to (B, ...)."""
        if not self.training:
            return x
        keep = 1.0 - self.drop_prob
        mask = x.new_empty((x.shape[0],) + (1,) * (x.dim() - 1)).bernoulli_(keep)
        return x * mask.div_(keep)

    def extra_repr(self) -> str:
        """Show the probability in `print(model)`."""
        return f"drop_prob={self.drop_prob:.3f}"


def layer_scale_parameter(shape: tuple[int, ...], value: float | None) -> nn.Parameter | None:
    """Return a learned scale per channel, None for no scale."""
    return None if value is None else nn.Parameter(torch.full(shape, value))


def scale(gamma: Tensor | None, x: Tensor) -> Tensor:
    """Apply layer scale, if there is one."""
    return x if gamma is None else gamma * x


def init_parameters(module: nn.Module) -> None:
    """Initialize linear layers as the official code does (truncated normal, 0.02)."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, DividedGlobalBlock):
        nn.init.zeros_(module.t_attn.qkv.weight)
        nn.init.ones_(module.t_attn.proj.weight)


def _load_strictly(init_cfg: Any) -> Any:
    """Let checkpoints of `init_cfg` be loaded by `uniformer_mm.checkpoints`, after the rest."""
    configs = init_cfg if isinstance(init_cfg, list) else [init_cfg] if init_cfg else []
    pretrained = [cfg for cfg in configs if cfg["type"] in PRETRAINED]
    if not pretrained:
        return init_cfg
    others = [cfg for cfg in configs if cfg["type"] not in PRETRAINED]
    return others + [{**cfg, "type": "mmengine.UniFormerPretrained"} for cfg in pretrained]
