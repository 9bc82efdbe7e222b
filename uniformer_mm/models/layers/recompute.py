"""Cheap activations that the backward pass recomputes instead of storing.

What norms, GELU and the partition into windows give costs little to compute and much to keep: 6 of
the 15 maps of C channels that a local block keeps, and 6 of the 17 of a global one. Here, a layer's
input that such steps make is not kept for the gradient of its weights. The formulas of the gradient
stay PyTorch's, which gets the recomputed tensor when it asks for it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules import module as hooks_of_all_modules

Step = Callable[[Tensor], Tensor]

REPEATABLE = (nn.LayerNorm, nn.BatchNorm2d, nn.BatchNorm3d, nn.GELU, nn.Dropout, nn.Identity)
"""Exact types of modules whose output can be computed again; subclasses may do other things."""


def recomputed(layer: nn.Module, x: Tensor, *steps: Step) -> Tensor:
    """Apply cheap steps and then a layer, whose input is not kept for the backward pass.

    Everything is kept, as PyTorch does, where a step may give something else when it is repeated
    (`_repetition`), where others decide what is kept (activation checkpointing, `torch.compile`),
    and with torch < 2.8.

    Args:
        layer: Linear layer or convolution.
        x: Input of the first step, which is kept.
        steps: Modules, and functions without side effects.

    Returns:
        The output of `layer` for the output of the last step.

    Raises:
        RuntimeError: In the backward pass: a tensor that it needs was changed in place before.
    """
    repetitions = _repetitions(steps) if _may_forget(x) else None
    made = x
    for step in steps:
        made = step(made)
    if repetitions is None or not made.requires_grad:
        return layer(made)
    device = x.device.type
    half, half_dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    if half:
        made = made.to(half_dtype)  # as the layer would, which then saves it as it is
    address, version, dtype = made.data_ptr(), made._version, made.dtype
    source = _Kept(x)
    parameters = [_Kept(tensor) for step in repetitions for tensor in _tensors_of(step)]

    def forget(saved: Tensor) -> Any:
        if saved.data_ptr() == address and saved._version == version:
            return saved.size(), saved.stride()
        return _Kept(saved)

    def remember(kept: Any) -> Tensor:
        if isinstance(kept, _Kept):
            return kept.unchanged()
        for parameter in parameters:
            parameter.unchanged()
        again = source.unchanged()
        with torch.no_grad(), torch.autocast(device, half_dtype, half, cache_enabled=False):
            for repeat in repetitions:
                again = repeat(again)
        return again.to(dtype).as_strided(*kept)

    with saved_tensors_hooks(forget, remember):
        return layer(made)


class _Kept:
    """A tensor for the backward pass, which must not be changed in place until then."""

    __slots__ = ("tensor", "version")

    def __init__(self, tensor: Tensor) -> None:
        # A layer's output would keep the node of the graph that keeps this.
        self.tensor = tensor if tensor.is_leaf else tensor.detach()
        self.version = tensor._version

    def unchanged(self) -> Tensor:
        if self.tensor._version != self.version:
            raise RuntimeError(
                f"a tensor of shape {tuple(self.tensor.shape)} (weights or a feature map) was"
                " changed in place between the forward pass and the backward pass"
            )
        return self.tensor


def _may_forget(x: Tensor) -> bool:
    return (
        torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and type(x) is Tensor  # not a FakeTensor, which has no address
        and not x.is_meta
        and not _others_decide()
    )


def _others_decide() -> bool:
    """Whether there are hooks of others, of activation checkpointing say, or none are allowed."""
    hooks = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    if hooks is None:  # torch < 2.8 does not tell
        return True
    disabled = torch._C._autograd._saved_tensors_hooks_get_disabled_error_message()
    return hooks(False) is not None or disabled is not None


def _repetitions(steps: Sequence[Step]) -> list[Step] | None:
    """A function for each step, as `_repetition` gives them; None if one of them has none."""
    found = [repetition for step in steps if (repetition := _repetition(step))]
    return found if len(found) == len(steps) else None


def _repetition(step: Step) -> Step | None:
    """A function that gives again what a step gives now, and does nothing else.

    A module's function has the mode and the parameters that the module has now.

    Returns:
        None where the module is of another type than `REPEATABLE` (SyncBatchNorm has the statistics
        of all processes), or where hooks or a replaced `forward` may change its output.
    """
    if not isinstance(step, nn.Module):
        return step
    if type(step) not in REPEATABLE or _is_altered(step):
        return None
    if isinstance(step, nn.GELU):
        return partial(F.gelu, approximate=step.approximate)
    if isinstance(step, nn.LayerNorm):
        shape, weight, bias = step.normalized_shape, step.weight, step.bias
        return partial(F.layer_norm, normalized_shape=shape, weight=weight, bias=bias, eps=step.eps)
    if isinstance(step, nn.BatchNorm2d | nn.BatchNorm3d):
        of_batch = step.training or step.running_mean is None
        return partial(
            F.batch_norm,
            running_mean=None if of_batch else step.running_mean,
            running_var=None if of_batch else step.running_var,
            weight=step.weight,
            bias=step.bias,
            training=of_batch,
            eps=step.eps,
        )
    return None if step.training and isinstance(step, nn.Dropout) else _identity


def _is_altered(module: nn.Module) -> bool:
    """Whether somebody's hooks, or a `forward` of its own, may make its output another one."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or hooks_of_all_modules._global_forward_hooks
        or hooks_of_all_modules._global_forward_pre_hooks
        or "forward" in vars(module)
    )


def _identity(x: Tensor) -> Tensor:
    return x


def _tensors_of(step: Any) -> Sequence[Tensor]:
    arguments = step.keywords.values() if isinstance(step, partial) else ()
    return [value for value in arguments if isinstance(value, Tensor)]
