"""Global relation aggregation: multi-head self-attention, whole-map or in windows."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uniformer_mm.models.checks import check_choice, check_whole

ATTENTION_MODES = ("global", "window", "hybrid")


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

    def forward(self, x: Tensor) -> Tensor:
        """Relate every token to every other one: (B, N, C) to (B, N, C)."""
        x = self.attend(*self.project(x))
        return self.proj_drop(self.proj(x.transpose(1, 2).flatten(2)))

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        """Query, key and value of tokens (B, N, C), each (B, heads, N, head_dim)."""
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))
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

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Tokens (B, N, C) to tokens (B, N, C) and scores (B, N - 1), the mean over the heads."""
        parts = self.project(x)
        if self.fp32:
            with torch.autocast(x.device.type, enabled=False):
                x, scores = self._attend_and_score(*(part.float() for part in parts))
            x = x.to(parts[0].dtype)
        else:
            x, scores = self._attend_and_score(*parts)
        return self.proj_drop(self.proj(x.transpose(1, 2).flatten(2))), scores

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
    weights = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    return F.dropout(weights.softmax(dim=-1), dropout_p) @ value


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


def window_attention(attention: nn.Module, x: Tensor, size: int) -> Tensor:
    """Apply `attention` inside non-overlapping `size` x `size` windows of a (B, H, W, C) map.

    A map that is no multiple of `size` is zero-padded on the right and at the bottom. As in the
    official code the padded tokens are not masked: their keys and values are the biases of the
    projection. `x` must be normalised already, so that padding comes after the norm.
    """
    batch, height, width, channels = x.shape
    # ONNX derives shapes from these, where quotients of negative numbers are not rounded down.
    rows, columns = (height + size - 1) // size, (width + size - 1) // size
    x = F.pad(x, (0, 0, 0, columns * size - width, 0, rows * size - height))
    # (B, rows, size, columns, size, C) to (B, rows, columns, size, size, C)
    grid = x.reshape(batch, rows, size, columns, size, channels).transpose(2, 3)
    windows = attention(grid.reshape(-1, size * size, channels))
    x = windows.reshape(grid.shape).transpose(2, 3).reshape(x.shape)
    return x[:, :height, :width]
