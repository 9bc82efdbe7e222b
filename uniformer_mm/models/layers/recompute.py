"""Recompute cheap activations in the backward pass instead of storing them.

The outputs of norms and GELU cost little to compute and much to store: 6 of the 15 maps of C
channels that a local block keeps for its gradient, and 6 of the 17 of a global block. Inside
`recompute_activations`, the modules of this file record how they computed their output. Where a
layer saves such an output for the gradient of its weights, the hook of autograd stores the module's
input instead, which the module's own gradient needs anyway.
"""

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from uniformer_mm.torch_internals import (
    TENSORS_HAVE_VERSIONS,
    saved_tensors_hooks_are_active,
    version,
)

_local = threading.local()


def recompute_activations(x: Tensor) -> AbstractContextManager[Any]:
    """Return the context of a forward pass whose cheap activations are recomputed.

    It does nothing where no gradient is needed and where others decide what is stored: activation
    checkpointing, somebody's hooks, `torch.compile`, tracing, transforms of functions. It is always
    right to do nothing; it takes more memory.

    Args:
        x: Input of the forward pass, for its device and type.
    """
    if (
        torch.compiler.is_compiling()
        or not torch.is_grad_enabled()
        or torch.jit.is_tracing()
        or type(x) is not Tensor  # a FakeTensor has no address
        or x.is_meta
        or not TENSORS_HAVE_VERSIONS
        or saved_tensors_hooks_are_active()
    ):
        return nullcontext()
    return _Context(x.device.type).recording()


class _Context:
    """Knows how the outputs that are alive were computed, by their address."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._records: dict[int, _Recomputed] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record outputs, and replace them where they are saved."""
        hooks = saved_tensors_hooks(self._pack, _unpack)
        try:
            hooks.__enter__()
        except RuntimeError:  # disabled, as by the transforms of torch.func
            yield
            return
        _local.context = self
        try:
            yield
        finally:
            _local.context = None
            hooks.__exit__()
            self._records.clear()

    def record(self, output: Tensor, source: Tensor, function: Any, *options: Any) -> Tensor:
        """Record that `function(source, *options)` gives `output`; return the output.

        Under autocast it is cast to the type in which the layer after it runs: otherwise that
        layer would store a copy of its own.
        """
        if not output.requires_grad:
            return output
        half = None
        if torch.is_autocast_enabled(self._device):
            half = torch.get_autocast_dtype(self._device)
            output = output.to(half)
        address = output.data_ptr()
        records = self._records
        records[address] = _Recomputed(
            self._pack(source),
            function,
            [_Saved(option) if isinstance(option, Tensor) else option for option in options],
            version(output),
            partial(torch.autocast, self._device, half, half is not None, cache_enabled=False),
            output.dtype,
            # An address belongs to an output as long as that is alive.
            weakref.ref(output, lambda _: records.pop(address, None)),
        )
        return output

    def _pack(self, tensor: Tensor) -> "_Saved | _View":
        if type(tensor) is Tensor:
            record = self._records.get(tensor.data_ptr())
            if record is not None and record.version == version(tensor):
                return _View(record, tensor.size(), tensor.stride())
        return _Saved(tensor)


class _Saved:
    """A tensor for the backward pass, which must not be changed in place until then."""

    __slots__ = ("tensor", "version")

    def __init__(self, tensor: Tensor) -> None:
        # The output of a layer refers to the node of the graph that refers to this.
        self.tensor = tensor if tensor.is_leaf else tensor.detach()
        self.version = version(tensor)

    def unpack(self) -> Tensor:
        if version(self.tensor) != self.version:
            raise RuntimeError(
                f"a tensor of shape {tuple(self.tensor.shape)} (weights or a feature map) was"
                " changed in place between the forward pass and the backward pass"
            )
        return self.tensor


@dataclass(slots=True, eq=False)
class _Recomputed:
    """The output of a cheap function, to be computed again."""

    source: "_Saved | _View"
    function: Callable[..., Tensor]
    options: list[Any]
    version: int
    autocast: Callable[[], torch.autocast]
    dtype: torch.dtype
    output: "weakref.ref[Tensor]"

    def unpack(self) -> Tensor:
        options = [o.unpack() if isinstance(o, _Saved) else o for o in self.options]
        with torch.no_grad(), self.autocast():
            return self.function(self.source.unpack(), *options).to(self.dtype)


@dataclass(slots=True, eq=False)
class _View:
    """A saved tensor that is a view of a recomputed one."""

    record: _Recomputed
    size: torch.Size
    stride: tuple[int, ...]

    def unpack(self) -> Tensor:
        return self.record.unpack().as_strided(self.size, self.stride)


def _unpack(packed: _Saved | _View) -> Tensor:
    return packed.unpack()


def _active() -> _Context | None:
    return None if torch.compiler.is_compiling() else getattr(_local, "context", None)


class LayerNorm(nn.LayerNorm):
    """LayerNorm before a linear layer."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        output = super().forward(x)
        if (context := _active()) is None:
            return output
        options = (self.normalized_shape, self.weight, self.bias, self.eps)
        return context.record(output, x, F.layer_norm, *options)


class _BatchNorm(nn.modules.batchnorm._BatchNorm):
    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to (B, C, ...)."""
        output = super().forward(x)
        if (context := _active()) is None:
            return output
        options: tuple[Any, ...]
        if self.training or self.running_mean is None:  # again, without a second update
            options = (None, None, self.weight, self.bias, True, 0.0, self.eps)
        else:
            mean, variance = self.running_mean, self.running_var
            options = (mean, variance, self.weight, self.bias, False, 0.0, self.eps)
        return context.record(output, x, F.batch_norm, *options)


class BatchNorm2d(_BatchNorm, nn.BatchNorm2d):
    """BatchNorm of images before a convolution."""


class BatchNorm3d(_BatchNorm, nn.BatchNorm3d):
    """BatchNorm of videos before a convolution."""


class GELU(nn.GELU):
    """GELU before a linear layer or a convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        output = super().forward(x)
        if (context := _active()) is None:
            return output
        return context.record(output, x, _gelu, self.approximate)


def _gelu(x: Tensor, approximate: str) -> Tensor:
    return F.gelu(x, approximate=approximate)


BATCH_NORMS_BEFORE_CONV: dict[int, type[nn.Module]] = {2: BatchNorm2d, 3: BatchNorm3d}
