"""Depthwise convolutions of stride 1 that keep the size of a map.

The parameters have the shapes of `nn.Conv2d` and `nn.Conv3d`. What runs is PyTorch's convolution,
one whose gradient is faster (videos on CPUs), or a Triton kernel (GPUs, `use_kernels`).
"""

import importlib.util
import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uniformer_mm.models.layers.devices import runs_on_gpu, trains_on_cpu

HAS_KERNELS = importlib.util.find_spec("triton") is not None and torch.__version__ >= "2.7"
"""Whether there is a Triton recent enough for tuples in kernels."""

KERNEL_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""Types of maps that the kernels take."""


class Depthwise(nn.Module):
    """Depthwise convolution with an odd kernel.

    Args:
        dim: Channels C.
        kernel_size: Side of the kernel, along time as well.
        channels_last: Whether maps are (B, ..., C) instead of (B, C, ...).
    """

    weight: Tensor
    bias: Tensor | None

    kernels: bool | None = None
    """Whether GPUs run the package's Triton kernels (`use_kernels`); None: where faster."""

    keeps_dtype = False
    """Whether the kernels return the type of the input under autocast, as a residual stream."""

    def __init__(self, dim: int, kernel_size: int, channels_last: bool = False) -> None:
        super().__init__(dim, dim, kernel_size, padding=kernel_size // 2, groups=dim)
        self.channels_last = channels_last

    def forward(self, x: Tensor) -> Tensor:
        """A map to a map of the same shape."""
        if self.channels_last:
            return self._convolve(x.movedim(-1, 1)).movedim(1, -1)
        return self._convolve(x)

    def _convolve(self, x: Tensor) -> Tensor:
        if not (self.runs_kernels(x) and x.dtype in KERNEL_DTYPES):
            return self._torch_convolve(x)
        device = x.device.type
        if torch.is_autocast_enabled(device) and not self.keeps_dtype:
            x = x.to(torch.get_autocast_dtype(device))
        from uniformer_mm.models.layers.depthwise_op import depthwise

        return depthwise(x, self.weight, self.bias)

    def runs_kernels(self, x: Tensor) -> bool:
        """Whether Triton kernels run on a map.

        Without gradients they are faster than PyTorch's convolutions. In a training step of images
        they cost more time on the CPU than they save on the GPU (docs/performance.md).
        """
        if not HAS_KERNELS or self.kernels is False or not runs_on_gpu(x):
            return False
        return bool(self.kernels) or x.dim() == 5 or not torch.is_grad_enabled()

    def _torch_convolve(self, x: Tensor) -> Tensor:
        output: Tensor = super().forward(x)
        return output


class Depthwise2d(Depthwise, nn.Conv2d):
    """Depthwise convolution of images."""


class Depthwise3d(Depthwise, nn.Conv3d):
    """Depthwise convolution of videos."""

    def _torch_convolve(self, x: Tensor) -> Tensor:
        if trains_on_cpu(x):
            output: Tensor = _FlippedGradient.apply(x, self.weight, self.bias)
            return output
        if not runs_on_gpu(x):
            return super()._torch_convolve(x)
        # PyTorch is 6 times as fast on packed channels-first videos as on channels-last ones.
        return (
            super()._torch_convolve(x.contiguous()).contiguous(memory_format=torch.channels_last_3d)
        )


DEPTHWISE: dict[int, type[Depthwise]] = {2: Depthwise2d, 3: Depthwise3d}
"""By the number of axes of an image or video."""


class _FlippedGradient(torch.autograd.Function):
    """Depthwise convolution of videos on CPUs.

    The gradient of the input is the convolution of the output's gradient with the flipped kernel,
    which takes oneDNN a tenth of the time of the operation that PyTorch calls.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _conv3d(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs_x, *needs = ctx.needs_input_grad
        grad_x = _conv3d(grad, weight.flip(2, 3, 4), None) if needs_x else None
        grad_weight = grad_bias = None
        if any(needs):
            padding = [size // 2 for size in weight.shape[2:]]
            options = ([len(weight)], [1] * 3, padding, [1] * 3, False, [0] * 3, len(weight))
            _, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
                grad, x, weight, *options, [False, *needs]
            )
        return grad_x, grad_weight, grad_bias


def _conv3d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    padding = [size // 2 for size in weight.shape[2:]]
    return F.conv3d(x, weight, bias, padding=padding, groups=len(weight))


def use_kernels(model: nn.Module, on: bool | None) -> None:
    """Let GPUs run the layers of a model by Triton kernels, or by PyTorch.

    Args:
        model: A backbone.
        on: None for kernels where they are faster. True without a suitable Triton (`HAS_KERNELS`)
            warns, and PyTorch runs the layers.
    """
    if on and not HAS_KERNELS:
        warnings.warn(
            "the depthwise kernels need Triton and torch 2.7 or newer: PyTorch's convolutions run"
            " instead",
            stacklevel=2,
        )
    for module in model.modules():
        if hasattr(module, "kernels"):
            module.kernels = on  # type: ignore[assignment]
