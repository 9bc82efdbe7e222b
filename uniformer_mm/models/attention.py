"""Global relation aggregation: multi-head self-attention, whole-map or in windows."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uniformer_mm.models.archs import check_choice, check_whole
from uniformer_mm.models.layers.recompute import Step, recomputed

ATTENTION_MODES = ("global", "window", "hybrid")

MUCH_PADDING = 1.25
"""Tokens of all windows over those of the map, from which on it pays to project only the latter
and to cut the three times as many channels of the projections into windows."""


class Attention(nn.Module):
    """Global MHRA: multi-head self-attention over a set of tokens.

    UniFormer (arXiv 2201.09450), Section 3.3. The packed projection is laid out as
    (3, heads, head_dim); the scale is ``head_dim ** -0.5``.

    Args:
        dim: Channels C of the tokens.
        head_dim: Channels of one head; must divide `dim`.
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
        qkv_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads = dim // head_dim
        self.attn_drop = attn_drop
        self.qkv = nn.Linear(dim, dim * 3, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop) if proj_drop else nn.Identity()

    def forward(self, x: Tensor, *steps: Step) -> Tensor:
        """Relate every token to every other one: (B, N, C) to (B, N, C).

        Args:
            x: Tokens, or what `steps` make tokens of.
            steps: What comes before the projection, as in `recomputed`.
        """
        return self.finish(self.relate(recomputed(self.qkv, x, *steps)))

    def relate(self, qkv: Tensor) -> Tensor:
        """Packed projections (B, N, 3 C) to the weighted values of all heads, (B, N, C)."""
        return self.attend(*self.split(qkv)).transpose(1, 2).flatten(2)

    def finish(self, x: Tensor) -> Tensor:
        """The projection behind the heads, (..., C) to (..., C)."""
        return self.proj_drop(self.proj(x))

    def split(self, qkv: Tensor) -> tuple[Tensor, ...]:
        """Query, key and value out of (B, N, 3 C), each (B, heads, N, head_dim)."""
        qkv = qkv.unflatten(-1, (3, self.num_heads, -1))
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The weighted values, (B, heads, N, head_dim)."""
        attend = F.scaled_dot_product_attention if self.fused else softmax_attention
        return attend(query, key, value, dropout_p=self.attn_drop if self.training else 0.0)


class ScoringAttention(Attention):
    """Attention that also says how much the first token, the class token, attends to the others.

    Args: as for `Attention`, and:
        fp32: Attend in single precision under autocast.
    """

    def __init__(self, dim: int, head_dim: int, *, fp32: bool = False, **options: Any) -> None:
        super().__init__(dim, head_dim, **options)
        self.fp32 = fp32

    def forward(self, x: Tensor, *steps: Step) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Tokens (B, N, C) to tokens (B, N, C) and scores (B, N - 1), the mean over the heads."""
        parts = self.split(recomputed(self.qkv, x, *steps))
        if self.fp32:
            with torch.autocast(x.device.type, enabled=False):
                x, scores = self._attend_and_score(*(part.float() for part in parts))
            x = x.to(parts[0].dtype)
        else:
            x, scores = self._attend_and_score(*parts)
        return self.finish(x.transpose(1, 2).flatten(2)), scores

    def _attend_and_score(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        # The fused kernel keeps its weights to itself: one row of them is made again, in single
        # precision, because products in fp16 may overflow. A matrix product would be cast back.
        row = (query[:, :, :1].float() * key.float()).sum(dim=-1) * query.shape[-1] ** -0.5
        scores = row.softmax(dim=-1)[:, :, 1:].mean(dim=1)
        return self.attend(query, key, value), scores


def softmax_attention(query: Tensor, key: Tensor, value: Tensor, dropout_p: float = 0.0) -> Tensor:
    """Attention written out, the yardstick for the fused kernel.

    Shapes (B, heads, N, head_dim) in and out.
    """
    return F.dropout(attention_weights(query, key), dropout_p) @ value


def attention_weights(query: Tensor, key: Tensor) -> Tensor:
    """What `scaled_dot_product_attention` weights values with: (B, heads, M, N).

    Of queries (B, heads, M, head_dim) and keys (B, heads, N, head_dim).
    """
    weights = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    return weights.softmax(dim=-1)


def window_sizes(attention: str, window_size: int, depth: int) -> list[int]:
    """Window size of every block of stage 3, 0 for global attention.

    In the hybrid mode every fourth block is global (arXiv 2201.09450, Section 3.4): block i of
    `depth`, counted from 0, where (i + 1) is a multiple of 4.

    Raises:
        ValueError: An unknown mode, or a window size below 1.
    """
    check_choice("attention", attention, ATTENTION_MODES)
    check_whole("window_size", window_size, 1)
    if attention == "global":
        return [0] * depth
    if attention == "window":
        return [window_size] * depth
    return [0 if (i + 1) % 4 == 0 else window_size for i in range(depth)]


def window_attention(attention: Attention, x: Tensor, size: int, *steps: Step) -> Tensor:
    """Apply `attention` inside non-overlapping `size` x `size` windows of a (B, H, W, C) map.

    A map that is no multiple of `size` is zero-padded on the right and at the bottom. As in the
    official code the padded tokens are not masked: their keys and values are the biases of the
    projection. `steps` (the norm) come before padding, as in `recomputed`.
    """
    batch, height, width, channels = x.shape
    rows, columns = _windows_along(height, size), _windows_along(width, size)
    much_padding = (
        not torch.compiler.is_compiling()
        and rows * columns * size**2 >= MUCH_PADDING * height * width
    )
    if much_padding:
        qkv = recomputed(attention.qkv, x, *steps)
        windows = attention.relate(partition(qkv, size, attention.qkv.bias))
    else:
        windows = attention(x, *steps, partial(partition, size=size))
    grid = windows.reshape(batch, rows, columns, size, size, channels).transpose(2, 3)
    x = grid.reshape(batch, rows * size, columns * size, channels)[:, :height, :width]
    return attention.finish(x) if much_padding else x


def partition(x: Tensor, size: int, fill: Tensor | None = None) -> Tensor:
    """Windows (B * rows * columns, size * size, C) of a padded (B, H, W, C) map.

    Args:
        x: The map.
        size: Side of the windows.
        fill: What a padded token is, (C,); None for zeros.
    """
    batch, height, width, channels = x.shape
    rows, columns = _windows_along(height, size), _windows_along(width, size)
    bottom, right = rows * size - height, columns * size - width
    if fill is None:
        x = F.pad(x, (0, 0, 0, right, 0, bottom))
    else:
        fill = fill.to(x.dtype)
        x = torch.cat([x, fill.expand(batch, bottom, width, channels)], dim=1)
        x = torch.cat([x, fill.expand(batch, rows * size, right, channels)], dim=2)
    # (B, rows, size, columns, size, C) to (B, rows, columns, size, size, C)
    grid = x.reshape(batch, rows, size, columns, size, channels).transpose(2, 3)
    return grid.reshape(-1, size * size, channels)


def _windows_along(tokens: int, size: int) -> int:
    # No remainders, and no quotients of negative numbers, which ONNX does not round down: export
    # derives shapes for every height and width from this.
    return (tokens + size - 1) // size
