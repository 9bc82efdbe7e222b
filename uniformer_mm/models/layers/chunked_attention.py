"""Attention in bfloat16 on CPUs without AMX.

PyTorch's fused kernel converts bfloat16 to fp32 there. Two matrix products by oneDNN with a softmax
between them run in bfloat16; they take some of the queries at a time.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

SCORES = 2**23
"""Attention scores that are in memory at a time: 16 MB."""


def attend_in_chunks(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute `scaled_dot_product_attention` of tensors (B, heads, N, head_dim)."""
    if query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value)
    batch, heads, _, dim = query.shape
    key = (key * dim**-0.5).transpose(-2, -1)
    rows = max(SCORES // (batch * heads * key.shape[-1]), 1)
    attended = torch.empty_like(query, memory_format=torch.contiguous_format)
    for part, output in zip(query.split(rows, 2), attended.split(rows, 2), strict=True):
        output.copy_((part @ key).softmax(dim=-1) @ value)
    return attended
