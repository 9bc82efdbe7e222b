"""The parts of a UniFormer stage: patch embeddings, local and global blocks.

Between the parts a feature map is channels-last, (B, H, W, C) or (B, T, H, W, C): LayerNorm,
linear layers and attention take it as it is, and convolutions see it through a view whose memory
format is PyTorch's `channels_last`, so that nothing is copied on the way.

Sub-module names are those of the official checkpoints.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from uniformer_mm.models.attention import Attention, ScoringAttention, window_attention
from uniformer_mm.models.layers.depthwise import (
    BATCH_NORMS,
    CONVS,
    DEPTHWISE,
    POINTWISE,
    POSITION_EMBEDS,
)
from uniformer_mm.models.layers.recompute import Step, recomputed

BLOCK_NORM_EPS = 1e-6
"""Epsilon of the LayerNorms in blocks and at outputs; both known ports have 1e-5 by mistake."""

PATCH_NORM_EPS = 1e-5
"""Epsilon of the LayerNorm in patch embeddings: PyTorch's default in the official code too."""

CLASS_NORM_EPS = 1e-5
"""Epsilon of the LayerNorm of the light models' class token: PyTorch's default as well."""

SMALLEST_SCORE = 1e-18
"""What a token of the light models counts at least: a class token whose attention is all on a few
tokens, or on itself, leaves exact zeros to the others, whose mean would be 0 / 0. The official code
gets NaN there; above this nothing changes."""


class LocalBlock(nn.Module):
    """DPE, local MHRA and feed-forward network (arXiv 2201.09450, Section 3.3).

    The local relation aggregator is a 5x5(x5) depthwise convolution between two pointwise ones,
    without an activation in between. Its attribute is called `attn` in the official checkpoints.

    Args:
        dims: 2 for images, 3 for videos.
        dim: Channels C.
        mlp_ratio: Hidden channels of the feed-forward network over C.
        drop: Dropout probability in the feed-forward network.
        drop_path: Probability to skip a branch for a sample (stochastic depth).
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
        conv = POINTWISE[dims]
        # Norms come first: mmcv's `fuse_conv_bn` takes a BatchNorm to follow the convolution that
        # is registered before it.
        self.norm1 = BATCH_NORMS[dims](dim)
        self.norm2 = BATCH_NORMS[dims](dim)
        self.pos_embed = POSITION_EMBEDS[dims](dim, dim, 3, padding=1, groups=dim)
        self.conv1 = conv(dim, dim, 1)
        self.conv2 = conv(dim, dim, 1)
        self.attn = DEPTHWISE[dims](dim, dim, 5, padding=2, groups=dim)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        hidden = int(dim * mlp_ratio)
        self.mlp = FeedForward(conv(dim, hidden, 1), conv(hidden, dim, 1), drop)
        shape = (1, dim) + (1,) * dims
        self.gamma_1, self.gamma_2 = _layer_scales(shape, layer_scale)

    def forward(self, x: Tensor) -> Tensor:
        """Channels-last map to channels-last map of the same shape."""
        x = x.movedim(-1, 1)
        x = self.pos_embed(x)
        local = self.conv2(self.attn(recomputed(self.conv1, x, self.norm1)))
        x = x + self.drop_path(_scaled(local, self.gamma_1))
        x = x + self.drop_path(_scaled(self.mlp(x, self.norm2), self.gamma_2))
        return x.movedim(1, -1)


class GlobalBlock(nn.Module):
    """DPE, global MHRA and feed-forward network (arXiv 2201.09450, Sections 3.3 and 3.4).

    Args:
        dims: 2 for images, 3 for videos.
        dim: Channels C.
        head_dim: Channels of one attention head.
        window_size: Side of the attention windows (images only), 0 for global attention.
        mlp_ratio: Hidden channels of the feed-forward network over C.
        qkv_bias: Whether query, key and value have a bias.
        drop: Dropout probability of projections.
        attn_drop: Dropout probability of attention weights.
        drop_path: Probability to skip a branch for a sample (stochastic depth).
        layer_scale: Initial value of the learned scale of each branch; None for no scale.
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
        self.pos_embed = POSITION_EMBEDS[dims](dim, dim, 3, padding=1, groups=dim)
        self.norm1 = nn.LayerNorm(dim, eps=BLOCK_NORM_EPS)
        self.attn = Attention(dim, head_dim, qkv_bias=qkv_bias, attn_drop=attn_drop, proj_drop=drop)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps=BLOCK_NORM_EPS)
        hidden = int(dim * mlp_ratio)
        self.mlp = FeedForward(nn.Linear(dim, hidden), nn.Linear(hidden, dim), drop)
        self.gamma_1, self.gamma_2 = _layer_scales((dim,), layer_scale)

    def forward(self, x: Tensor) -> Tensor:
        """Channels-last map to channels-last map of the same shape."""
        x = on_channels_first(self.pos_embed, x)
        x = x + self.drop_path(_scaled(self.aggregate(x), self.gamma_1))
        return x + self.drop_path(_scaled(self.mlp(x, self.norm2), self.gamma_2))

    def aggregate(self, x: Tensor) -> Tensor:
        """The attention branch of a channels-last map, before scale and residual."""
        if self.window_size:
            return window_attention(self.attn, x, self.window_size, self.norm1)
        return self.attn(x.flatten(1, -2), self.norm1).view(x.shape)


class DividedGlobalBlock(GlobalBlock):
    """Global block whose attention is divided into a temporal and a spatial step (videos).

    The option `SPLIT` of the official video code. The spatial step reads the temporal step's
    output but its residual starts from the input of both. Temporal attention starts as zero
    queries, keys and values with an all-one projection, so that a block pretrained on images
    starts out unchanged.

    Args: as for `GlobalBlock`, without windows.
    """

    def __init__(self, dim: int, head_dim: int, **options: float | bool | None) -> None:
        super().__init__(3, dim, head_dim, **options)  # type: ignore[arg-type]
        self.t_norm = nn.LayerNorm(dim, eps=BLOCK_NORM_EPS)
        self.t_attn = Attention(
            dim,
            head_dim,
            qkv_bias=self.attn.qkv.bias is not None,
            attn_drop=self.attn.attn_drop,
            proj_drop=getattr(self.attn.proj_drop, "p", 0.0),
        )

    def aggregate(self, x: Tensor) -> Tensor:
        """The divided attention branch of a (B, T, H, W, C) map, before scale and residual."""
        temporal = x.permute(0, 2, 3, 1, 4)  # (B, H, W, T, C)
        tubes = partial(torch.flatten, end_dim=-3)
        frames = partial(torch.flatten, start_dim=1, end_dim=-2)
        change = self.t_attn(temporal, self.t_norm, tubes)
        temporal = temporal + self.drop_path(change.view(temporal.shape))
        spatial = temporal.permute(0, 3, 1, 2, 4).flatten(0, 1)
        return self.attn(spatial, self.norm1, frames).view(x.shape)


class HourglassBlock(GlobalBlock):
    """Global block of the light models: it attends with the tokens that matter (token shrinking).

    "UniFormer: Unifying Convolution and Self-attention for Visual Recognition", arXiv 2201.09450v4,
    Section 3.5 (hourglass design), after Evo-ViT (arXiv 2108.01390). A score per token says how
    much the class token attends to it. The best `keep_ratio` of the tokens are kept; one
    representative, the score-weighted mean of the others, stands for these and passes its updates
    on to them, without drop path (token recovering).

    Args: as for `GlobalBlock`, without windows, and:
        keep_ratio: Share of the tokens that is kept, rounded down; 1 for all of them.
        score_update: Weight of a block's own attention in the scores that it hands on.
    """

    def __init__(
        self,
        dims: int,
        dim: int,
        head_dim: int,
        *,
        keep_ratio: float,
        score_update: float,
        layer_scale: float | None = None,
        qkv_bias: bool = True,
        drop: float = 0.0,
        attn_drop: float = 0.0,
        **options: float,
    ) -> None:
        super().__init__(dims, dim, head_dim, layer_scale=layer_scale, drop=drop, **options)  # type: ignore[arg-type]
        self.keep_ratio = keep_ratio
        self.score_update = score_update
        self.attn = ScoringAttention(
            dim, head_dim, qkv_bias=qkv_bias, attn_drop=attn_drop, proj_drop=drop
        )
        # In the official code, images scale what is passed on, videos pass on what is scaled.
        passes_on = keep_ratio < 1 and dims == 2
        self.gamma_3, _ = _layer_scales((dim,), layer_scale if passes_on else None)

    def forward(  # type: ignore[override]
        self, x: Tensor, class_token: Tensor, scores: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A channels-last map, a class token (B, 1, C) and scores (B, N) of the map's N tokens.

        The first block of a stage with `keep_ratio` 1 takes no scores: it makes them.

        Returns:
            The same three, updated.
        """
        x = on_channels_first(self.pos_embed, x)
        tokens = x.flatten(1, -2)
        if self.keep_ratio == 1:
            sequence = torch.cat([class_token, tokens], dim=1)
            sequence, _, scores = self._update(sequence)
            return sequence[:, 1:].reshape(x.shape), sequence[:, :1], scores
        assert scores is not None, "scores come from a block with keep_ratio 1"
        number = torch.sym_int(tokens.shape[1] * self.keep_ratio)
        order = scores.argsort(dim=1, descending=True)
        kept, dropped = order[:, :number], order[:, number:]
        weights = scores.gather(1, dropped).clamp_min(SMALLEST_SCORE)
        weights = (weights / weights.sum(dim=1, keepdim=True)).to(tokens.dtype)
        representative = weights.unsqueeze(1) @ _take(tokens, dropped)
        sequence = torch.cat([class_token, _take(tokens, kept), representative], dim=1)
        sequence, passed_on, class_attention = self._update(sequence)
        tokens = tokens + passed_on
        dtype = torch.promote_types(tokens.dtype, sequence.dtype)  # under autocast they may differ
        places = kept.unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
        tokens = tokens.to(dtype).scatter(1, places, sequence[:, 1:-1].to(dtype))
        old = scores.gather(1, kept)
        new = old + self.score_update * (class_attention[:, :-1] - old)
        return tokens.view(x.shape), sequence[:, :1], scores.scatter(1, kept, new)

    def _update(self, sequence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Attention and feed-forward network.

        Returns:
            The sequence, what its last token got from both branches, and the class token's
            attention to the others.
        """
        attended, scores = self.attn(sequence, self.norm1)
        scaled = _scaled(attended, self.gamma_1)
        sequence = sequence + self.drop_path(scaled)
        fed = self.mlp(sequence, self.norm2)
        scaled_fed = _scaled(fed, self.gamma_2)
        if self.gamma_3 is None:
            passed_on = scaled[:, -1:] + scaled_fed[:, -1:]
        else:
            passed_on = self.gamma_3 * (attended[:, -1:] + fed[:, -1:])
        return sequence + self.drop_path(scaled_fed), passed_on, scores


class FeedForward(nn.Module):
    """Two pointwise layers, linear or convolutional, with an exact (erf) GELU between."""

    def __init__(self, fc1: nn.Module, fc2: nn.Module, drop: float = 0.0) -> None:
        super().__init__()
        self.fc1 = fc1
        self.act = nn.GELU()
        self.fc2 = fc2
        self.drop = nn.Dropout(drop) if drop else nn.Identity()

    def forward(self, x: Tensor, *steps: Step) -> Tensor:
        """Any shape the two layers take; the same shape comes out.

        Args:
            x: Input.
            steps: What comes before the first layer, as in `recomputed`.
        """
        hidden = recomputed(self.fc1, x, *steps)
        return self.drop(recomputed(self.fc2, hidden, self.act, self.drop))


class PatchEmbed(nn.Module):
    """Patch embedding: an unpadded strided convolution, then LayerNorm over the channels.

    Sizes are rounded down: 333 pixels give 83, 41, 20 and 10 tokens.

    Args:
        dims: 2 for images, 3 for videos.
        in_channels: Channels of the input.
        dim: Channels C of the output.
        patch: Kernel and stride along height and width.
        kernel_time: Kernel along time; above 1 the time axis is padded by kernel_time // 2.
        stride_time: Stride along time.
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        dim: int,
        patch: int,
        *,
        kernel_time: int = 1,
        stride_time: int = 1,
    ) -> None:
        super().__init__()
        kernel: tuple[int, ...] = (patch, patch)
        stride: tuple[int, ...] = (patch, patch)
        padding: tuple[int, ...] = (0, 0)
        if dims == 3:
            kernel = (kernel_time, *kernel)
            stride = (stride_time, *stride)
            padding = (kernel_time // 2, *padding)
        self.norm = nn.LayerNorm(dim, eps=PATCH_NORM_EPS)
        self.proj = CONVS[dims](in_channels, dim, kernel, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        """Channels-last map to a smaller channels-last map."""
        return self.norm(on_channels_first(self.proj, x))


class ConvEmbed(nn.Module):
    """Patch embedding of overlapping 3x3(x3) convolutions with BatchNorm ("plus" stem).

    One convolution per entry of `strides`; all but the last are followed by GELU and have half
    the output channels.

    Args:
        dims: 2 for images, 3 for videos.
        in_channels: Channels of the input.
        dim: Channels C of the output.
        strides: Stride of each convolution, an int for all axes or one per axis.
    """

    def __init__(
        self, dims: int, in_channels: int, dim: int, strides: Sequence[int | tuple[int, ...]]
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, stride in enumerate(strides):
            last = i == len(strides) - 1
            channels = dim if last else dim // 2
            layers.append(CONVS[dims](in_channels, channels, 3, stride, 1))
            layers.append(BATCH_NORMS[dims](channels))
            if not last:
                layers.append(nn.GELU())
            in_channels = channels
        self.proj = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Channels-last map to a smaller channels-last map."""
        return on_channels_first(self.proj, x)


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
        """Shown by `print(model)`."""
        return f"drop_prob={self.drop_prob:.3f}"


def on_channels_first(module: nn.Module, x: Tensor) -> Tensor:
    """Apply a convolution or BatchNorm to a channels-last map, through views."""
    return module(x.movedim(-1, 1)).movedim(1, -1)


def _take(tokens: Tensor, indices: Tensor) -> Tensor:
    """Tokens (B, N, C) at indices (B, M): (B, M, C)."""
    return tokens.gather(1, indices.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def _layer_scales(
    shape: tuple[int, ...], init: float | None
) -> tuple[nn.Parameter | None, nn.Parameter | None]:
    if init is None:
        return None, None
    return nn.Parameter(torch.full(shape, init)), nn.Parameter(torch.full(shape, init))


def _scaled(x: Tensor, gamma: nn.Parameter | None) -> Tensor:
    return x if gamma is None else x * gamma
