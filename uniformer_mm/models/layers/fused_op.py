"""Layers of fused models on GPUs by Triton kernels."""

import torch
from torch import Tensor, nn

from uniformer_mm.models.layers.depthwise import HAS_KERNELS
from uniformer_mm.models.layers.devices import runs_on_gpu

WIDTHS = (32, 64, 128)
"""Channels that `project_and_feed` takes: powers of two whose maps fit the registers."""

BLOCK = 64
"""Tokens of one program of `project_and_feed`."""

SLICE = 64
"""Hidden channels that a program computes at a time."""


def runs_kernels(x: Tensor) -> bool:
    """Whether kernels run on a map: eagerly, on a GPU, and without gradients."""
    return (
        HAS_KERNELS
        and runs_on_gpu(x)
        and not torch.compiler.is_compiling()
        and not (torch.is_grad_enabled() and x.requires_grad)
    )


def kernel_takes(attended: Tensor, hidden: int) -> bool:
    """Whether `project_and_feed` takes a map (B, ..., C)."""
    return (
        attended.dtype in (torch.bfloat16, torch.float16)
        and attended.shape[-1] in WIDTHS
        and hidden % SLICE == 0
        and runs_kernels(attended)
    )


def layer_norm(x: Tensor, norm: nn.LayerNorm, dtype: torch.dtype) -> Tensor:
    """LayerNorm of a map (B, ..., C) for which `runs_kernels` holds, as a map of another type."""
    from uniformer_mm.models.layers.fused_kernels import layer_norm as kernel

    x = x.contiguous()
    channels = x.shape[-1]
    out = torch.empty_like(x, dtype=dtype)
    tokens, block = x.numel() // channels, 8
    with torch.cuda.device_of(x):
        kernel[((tokens + block - 1) // block,)](
            x,
            norm.weight,
            norm.bias,
            out,
            tokens,
            channels,
            norm.eps,
            BLOCK=block,
            WIDTH=1 << (channels - 1).bit_length(),
            num_warps=4,
        )
    return out


def project_and_feed(
    attended: Tensor, x: Tensor, projection: nn.Linear, fc1: nn.Linear, fc2: nn.Linear
) -> Tensor:
    """``y = x + projection(attended)``, then ``y + fc2(gelu(fc1(y)))``.

    Sums are in single precision. The hidden map never reaches the memory.

    Args:
        attended: Channels-last map (B, ..., C) in half precision, for which `kernel_takes` holds.
        x: Map of the same shape, of any floating-point type.
        projection: C to C channels.
        fc1: C to hidden channels.
        fc2: Hidden to C channels.

    Returns:
        A map of the shape and type of `x`.
    """
    from uniformer_mm.models.layers.fused_kernels import project_and_feed as kernel

    channels, hidden = attended.shape[-1], fc1.out_features
    attended, x = attended.contiguous(), x.contiguous()
    out = torch.empty_like(x)
    tokens = x.numel() // channels
    weights = [
        tensor.to(attended.dtype)
        for layer in (projection, fc1, fc2)
        for tensor in (layer.weight, layer.bias)
    ]
    with torch.cuda.device_of(x):
        kernel[((tokens + BLOCK - 1) // BLOCK,)](
            attended,
            x,
            out,
            *weights,
            tokens,
            CHANNELS=channels,
            HIDDEN=hidden,
            BLOCK=BLOCK,
            SLICE=SLICE,
            num_warps=4,
            num_stages=2,
        )
    return out
