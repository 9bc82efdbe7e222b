"""Activations that the backward pass makes again instead of keeping.

What norms, GELU and the partition into windows give costs little to compute and much to keep: 6 of
the 15 maps of C channels that a local block keeps, and 6 of the 17 of a global one. Here, a layer's
input that such steps make is not kept for the gradient of its weights. The formulas of the gradient
stay PyTorch's, which gets the tensor made anew when it asks for it.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

Step = Callable[[Tensor], Tensor]


def recomputed(layer: nn.Module, x: Tensor, *steps: Step) -> Tensor:
    """Apply cheap steps and then a layer, whose input is not kept for the backward pass.

    Everything is kept, as PyTorch does, where a step is a Dropout that acts, where others decide
    what is kept (activation checkpointing, `torch.compile`), and with torch < 2.8.

    Args:
        layer: Linear layer or convolution.
        x: Input of the first step, which is kept.
        steps: Modules and functions. A BatchNorm updates its statistics once.

    Returns:
        What `layer` makes of what the steps make of `x`.

    Raises:
        RuntimeError: In the backward pass: the layer's weights have been changed since.
    """
    made = x
    for step in steps:
        made = step(made)
    if not (torch.is_grad_enabled() and made.requires_grad and _may_forget(made, steps)):
        return layer(made)
    device = x.device.type
    half, half_dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    if half:
        made = made.to(half_dtype)  # as the layer would, which then saves it as it is
    address, dtype, source = made.data_ptr(), made.dtype, x.detach()

    def forget(saved: Tensor) -> Any:
        if saved.data_ptr() == address:
            return saved.size(), saved.stride()
        return saved, saved._version

    def remember(kept: Any) -> Tensor:
        if isinstance(kept[0], Tensor):
            saved, version = kept
            if saved._version != version:
                raise RuntimeError(
                    f"weights of shape {tuple(saved.shape)} were changed in place between the"
                    " forward pass and the backward pass"
                )
            return saved
        again = source
        with torch.no_grad(), torch.autocast(device, half_dtype, half, cache_enabled=False):
            for step in steps:
                again = _repeated(step, again)
        return again.to(dtype).as_strided(*kept)

    with saved_tensors_hooks(forget, remember):
        return layer(made)


def _may_forget(made: Tensor, steps: tuple[Step, ...]) -> bool:
    return not (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or made.is_meta
        or any(isinstance(step, nn.Dropout) and step.training for step in steps)
        or _others_decide()
    )


def _others_decide() -> bool:
    """Whether there are hooks of others, of activation checkpointing say, or none are allowed."""
    hooks = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    if hooks is None:  # torch < 2.8 does not tell
        return True
    disabled = torch._C._autograd._saved_tensors_hooks_get_disabled_error_message()
    return hooks(False) is not None or disabled is not None


def _repeated(step: Step, x: Tensor) -> Tensor:
    """A step without what it does beside its result."""
    if isinstance(step, nn.modules.batchnorm._BatchNorm) and step.training:
        return F.batch_norm(x, None, None, step.weight, step.bias, training=True, eps=step.eps)
    return step(x)
