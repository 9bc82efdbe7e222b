"""The convolutions of blocks: depthwise and pointwise ones, by way of what is quick on a GPU.

On CPUs, and wherever something else than a plain run looks on (export, tracing), they are
PyTorch's. Parameters have the shapes of `nn.Conv2d` and `nn.Conv3d`.
"""

import importlib.util
import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HAS_KERNELS = importlib.util.find_spec("triton") is not None and torch.__version__ >= "2.7"
"""Whether there is a Triton that knows tuples in kernels, as that of torch 2.7 does."""

KERNEL_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""Of maps that the kernels take."""

_is_exporting = getattr(torch.compiler, "is_exporting", torch.jit.is_tracing)  # since torch 2.7


class Depthwise(nn.Module):
    """A convolution of every channel for itself, which keeps the size of the map."""

    weight: Tensor
    bias: Tensor | None

    residual = False
    """Whether the input is added to the output."""

    keeps_dtype = False
    """Whether the kernels give what comes in its type under autocast, as a residual stream."""

    kernels = False
    """Whether GPUs run the package's kernels (`use_kernels`)."""

    def forward(self, x: Tensor) -> Tensor:
        """Channels-first map to a map of the same shape."""
        if not (self.kernels and HAS_KERNELS and x.dtype in KERNEL_DTYPES and _on_gpu(x)):
            out = self._plain(x)
            return x + out if self.residual else out
        device = x.device.type
        if torch.is_autocast_enabled(device) and not (self.residual or self.keeps_dtype):
            x = x.to(torch.get_autocast_dtype(device))
        from uniformer_mm.models.layers.depthwise_op import depthwise

        return depthwise(x, self.weight, self.bias, self.residual)

    def _plain(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Depthwise2d(Depthwise, nn.Conv2d):
    """Depthwise convolution of images, stride 1, padded to keep their size."""


class Depthwise3d(Depthwise, nn.Conv3d):
    """Depthwise convolution of videos, stride 1, padded to keep their size."""

    def _plain(self, x: Tensor) -> Tensor:
        if _is_trained_on_cpu(x):
            return _TurnedGradient.apply(x, self.weight, self.bias)
        if not _on_gpu(x):
            return super()._plain(x)
        # On packed channels-first videos, PyTorch is 6 times as quick as on channels-last ones.
        return super()._plain(x.contiguous()).contiguous(memory_format=torch.channels_last_3d)


class _TurnedGradient(torch.autograd.Function):
    """Depthwise convolution of videos on CPUs.

    The gradient of its input is the convolution of the output's gradient with the kernel turned
    around, which takes oneDNN a tenth of the time of what PyTorch asks it for.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolve3d(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs_x, *needs = ctx.needs_input_grad
        grad_x = _convolve3d(grad, weight.flip(2, 3, 4), None) if needs_x else None
        grad_weight = grad_bias = None
        if any(needs):
            padding = [size // 2 for size in weight.shape[2:]]
            options = ([len(weight)], [1] * 3, padding, [1] * 3, False, [0] * 3, len(weight))
            _, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
                grad, x, weight, *options, [False, *needs]
            )
        return grad_x, grad_weight, grad_bias


def _convolve3d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    padding = [size // 2 for size in weight.shape[2:]]
    return F.conv3d(x, weight, bias, padding=padding, groups=len(weight))


def _is_trained_on_cpu(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.requires_grad
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.jit.is_tracing()
        and not torch.compiler.is_compiling()
    )


class PositionEmbed2d(Depthwise2d):
    """Dynamic position embedding of images: x + depthwise convolution (arXiv 2201.09450, eq. 4)."""

    residual = True


class PositionEmbed3d(Depthwise3d):
    """Dynamic position embedding of videos."""

    residual = True


class _Pointwise(nn.Module):
    weight: Tensor
    bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """Channels-first map to channels-first map of as many tokens."""
        if not _on_gpu(x):
            return super().forward(x)
        # As a product of matrices: 2 to 3.5 times as quick as cuDNN's convolution on an H200.
        return F.linear(x.movedim(1, -1), self.weight.flatten(1), self.bias).movedim(-1, 1)


class Pointwise2d(_Pointwise, nn.Conv2d):
    """1x1 convolution of images."""


class Pointwise3d(_Pointwise, nn.Conv3d):
    """1x1x1 convolution of videos."""


DEPTHWISE: dict[int, type[nn.Module]] = {2: Depthwise2d, 3: Depthwise3d}
POINTWISE: dict[int, type[nn.Module]] = {2: Pointwise2d, 3: Pointwise3d}
POSITION_EMBEDS: dict[int, type[nn.Module]] = {2: PositionEmbed2d, 3: PositionEmbed3d}
"""By the dims of the map, as the next ones."""

CONVS: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
BATCH_NORMS: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def use_kernels(model: nn.Module, on: bool) -> None:
    """Let GPUs run the depthwise convolutions of a model by Triton kernels, or by PyTorch.

    Where there is no Triton that can (`HAS_KERNELS`), a warning says so and PyTorch runs them.
    """
    if on and not HAS_KERNELS:
        warnings.warn(
            "the depthwise kernels need Triton and torch 2.7 or newer: PyTorch's convolutions run"
            " instead",
            stacklevel=2,
        )
    for module in model.modules():
        if isinstance(module, Depthwise):
            module.kernels = on


def _on_gpu(x: Tensor) -> bool:
    return x.is_cuda and not (torch.jit.is_tracing() or _is_exporting())
