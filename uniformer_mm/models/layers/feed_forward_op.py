"""The second half of a local block in inference, by a Triton kernel."""

import torch
from torch import Tensor, nn

from uniformer_mm.models.layers.depthwise import HAS_KERNELS
from uniformer_mm.models.layers.devices import runs_on_gpu

WIDTHS = (32, 64, 128)
"""Channels that the kernel takes: powers of two whose maps fit the registers."""

BLOCK = 128
"""Tokens of one program."""

SLICE = 32
"""Hidden channels that a program computes at a time."""


def kernel_takes(attended: Tensor, hidden: int) -> bool:
    """Whether the kernel takes a map (B, ..., C): eagerly, on a GPU, and without gradients."""
    return (
        HAS_KERNELS
        and attended.dtype in (torch.bfloat16, torch.float16)
        and attended.shape[-1] in WIDTHS
        and hidden % SLICE == 0
        and runs_on_gpu(attended)
        and not torch.compiler.is_compiling()
        and not (torch.is_grad_enabled() and attended.requires_grad)
    )


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
    from uniformer_mm.models.layers.feed_forward_kernels import project_and_feed as kernel

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
            num_warps=BLOCK // 16,
            num_stages=2,
        )
    return out
