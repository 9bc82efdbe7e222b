"""Depthwise convolutions of stride 1 by Triton kernels.

cuDNN and PyTorch run 5x5 and 3-D depthwise convolutions far from what the memory allows, above all
their gradients (docs/performance.md). The kernels here take channels-last maps without a copy, read
weights in single precision under autocast, and accumulate in single precision.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

ROWS = 4
"""Output rows of one program of `convolve`."""

PROGRAMS = 132 * 8
"""About as many programs of `correlate` run: each of a large GPU's multiprocessors has several."""


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None, flipped: bool = False) -> Tensor:
    """Depthwise convolution of stride 1 whose output is as large as its input.

    It has first and second derivatives.

    Args:
        x: (B, C, H, W) or (B, C, T, H, W), in single or half precision; best channels-last.
        weight: (C, 1, K, K) or (C, 1, KT, K, K) with odd KT and K, of any floating-point type.
        bias: (C,) or None.
        flipped: Flip the kernel, as the gradient of the input does.

    Returns:
        A channels-last map of the type and shape of `x`.
    """
    if torch.compiler.is_compiling():
        return _depthwise_op(x, weight, bias, flipped)
    return _DepthwiseFunction.apply(x, weight, bias, flipped)


def _convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    flipped: bool,
    wrap: Callable[[Any], Any],
) -> Tensor:
    """Run `depthwise` by a kernel that `wrap` may make visible to `torch.compile`."""
    from uniformer_mm.models.layers.depthwise_kernels import convolve

    x = _channels_last(x)
    out = torch.empty_like(x)
    batch, channels, frames, height, width = _sizes(x)
    span_t, span = _spans(weight)
    tokens = _tokens(width)
    strips, columns = _ceil_div(height, ROWS), _ceil_div(width, tokens)
    wrap(convolve)[strips * columns, batch * frames, _ceil_div(channels, BLOCK_C)](
        x,
        weight.flatten(1).t().contiguous(),
        x if bias is None else bias,
        out,
        frames,
        height,
        width,
        channels,
        strips,
        columns,
        SPAN_T=span_t,
        SPAN=span,
        ROWS=ROWS,
        HAS_BIAS=bias is not None,
        FLIPPED=flipped,
        BLOCK_W=tokens,
        BLOCK_C=BLOCK_C,
        num_warps=tokens * BLOCK_C // 256,
    )
    return out


def _correlate(
    x: Tensor, grad: Tensor, weight: Tensor, flipped: bool, wrap: Callable[[Any], Any]
) -> tuple[Tensor, Tensor]:
    """Return the gradients of weight and bias in single precision; uses the weight's shape only."""
    from uniformer_mm.models.layers.depthwise_kernels import correlate

    x, grad = _channels_last(x), _channels_last(grad)
    batch, channels, frames, height, width = _sizes(x)
    span_t, span = _spans(weight)
    rows, blocks = batch * frames * height, _ceil_div(channels, BLOCK_C)
    rows_per_strip = _ceil_div(rows, _ceil_div(PROGRAMS, span_t * span * blocks))
    strips = _ceil_div(rows, rows_per_strip)
    taps = span_t * span * span
    partial = torch.empty((strips, taps + 1, channels), dtype=torch.float32, device=x.device)
    wrap(correlate)[span_t * span, strips, blocks](
        x,
        grad,
        partial,
        rows,
        frames,
        height,
        width,
        channels,
        rows_per_strip,
        SPAN_T=span_t,
        SPAN=span,
        BLOCK_W=16,
        BLOCK_C=BLOCK_C,
        num_warps=4,
    )
    sums = partial.sum(dim=0)
    kernel = sums[:-1].flip(0) if flipped else sums[:-1]
    return kernel.t().reshape(weight.shape), sums[-1].clone()


BLOCK_C = 64
"""Channels of one program: all widths of the presets are multiples."""


class _DepthwiseFunction(torch.autograd.Function):
    """`depthwise` without the overhead of a registered operator, 0.1 ms a call."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, flipped: bool) -> Tensor:
        _save(ctx, (x, weight, bias, flipped))
        with torch.cuda.device_of(x):
            return _convolve(x, weight, bias, flipped, _unwrapped)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _differentiate(ctx, grad, _DepthwiseFunction.apply, _GradientsFunction.apply)


class _GradientsFunction(torch.autograd.Function):
    """`depthwise_gradients` without the overhead of a registered operator."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, grad: Tensor, weight: Tensor, flipped: bool
    ) -> tuple[Tensor, Tensor]:
        _save_for_second(ctx, (x, grad, weight, flipped))
        with torch.cuda.device_of(x):
            return _correlate(x, grad, weight, flipped, _unwrapped)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _differentiate_again(ctx, grads[0], grads[1], _DepthwiseFunction.apply)


@torch.library.triton_op("uniformer_mm::depthwise", mutates_args=())
def _depthwise_op(x: Tensor, weight: Tensor, bias: Tensor | None, flipped: bool) -> Tensor:
    return _convolve(x, weight, bias, flipped, torch.library.wrap_triton)


@torch.library.triton_op("uniformer_mm::depthwise_gradients", mutates_args=())
def _gradients_op(x: Tensor, grad: Tensor, weight: Tensor, flipped: bool) -> tuple[Tensor, Tensor]:
    return _correlate(x, grad, weight, flipped, torch.library.wrap_triton)


def _unwrapped(kernel: Any) -> Any:
    return kernel


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any = None) -> None:
    x, weight, bias, ctx.flipped = inputs
    ctx.save_for_backward(x, weight)
    ctx.bias_dtype = None if bias is None else bias.dtype


def _differentiate(
    ctx: Any, grad: Tensor, convolve: Any, correlate: Any
) -> tuple[Tensor | None, ...]:
    x, weight = ctx.saved_tensors
    grad_x = grad_weight = grad_bias = None
    if ctx.needs_input_grad[0]:
        grad_x = convolve(grad, weight, None, not ctx.flipped)
    if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
        grad_weight, grad_bias = correlate(x, grad, weight, ctx.flipped)
        grad_weight = grad_weight.to(weight.dtype)
        grad_bias = None if ctx.bias_dtype is None else grad_bias.to(ctx.bias_dtype)
    return grad_x, grad_weight, grad_bias, None


def _save_for_second(ctx: Any, inputs: tuple[Any, ...], output: Any = None) -> None:
    x, grad, _, ctx.flipped = inputs
    ctx.save_for_backward(x, grad)


def _differentiate_again(
    ctx: Any, grad_weight: Tensor, grad_bias: Tensor, convolve: Any
) -> tuple[Tensor | None, ...]:
    x, grad = ctx.saved_tensors
    for_x = convolve(grad, grad_weight, None, not ctx.flipped).to(x.dtype)
    for_grad = convolve(x.to(grad.dtype), grad_weight, grad_bias, ctx.flipped)
    return for_x, for_grad, None, None


_depthwise_op.register_autograd(
    partial(_differentiate, convolve=_depthwise_op, correlate=_gradients_op), setup_context=_save
)
_gradients_op.register_autograd(
    partial(_differentiate_again, convolve=_depthwise_op), setup_context=_save_for_second
)


def _channels_last(x: Tensor) -> Tensor:
    memory = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
    return x.contiguous(memory_format=memory)


def _sizes(x: Tensor) -> tuple[int, ...]:
    """Return batch, channels, frames, height and width."""
    frames = x.shape[2] if x.dim() == 5 else 1
    return x.shape[0], x.shape[1], frames, x.shape[-2], x.shape[-1]


def _spans(weight: Tensor) -> tuple[int, int]:
    """Return the length of the kernel in time and in space."""
    return weight.shape[2] if weight.dim() == 5 else 1, weight.shape[-1]


def _tokens(width: int) -> int:
    """Return the tokens of one program of `convolve`, so that few lie beyond the edge."""
    return 32 if _ceil_div(width, 32) * 2 <= _ceil_div(width, 16) else 16 if width > 8 else 8


def _ceil_div(number: int, size: int) -> int:
    return (number + size - 1) // size
