"""Which way of running a layer fits the device of its input."""

import torch
from torch import Tensor

from uniformer_mm.torch_internals import has_fast_bf16, is_exporting


def runs_on_gpu(x: Tensor) -> bool:
    """Whether a layer runs on a GPU, and is not being exported or traced."""
    return x.is_cuda and not (torch.jit.is_tracing() or is_exporting())


def trains_on_cpu(x: Tensor) -> bool:
    """Whether a layer runs eagerly on a CPU in full precision, with a gradient of its input."""
    return (
        x.device.type == "cpu"
        and x.requires_grad
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.jit.is_tracing()
        and not torch.compiler.is_compiling()
    )


def has_epilogues(x: Tensor) -> bool:
    """Whether oneDNN's products with epilogues take `x`: they have no gradient."""
    return (
        not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and x.device.type == "cpu"
        and (x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and has_fast_bf16()))
        and torch.backends.mkldnn.is_available()
        and not (torch.is_grad_enabled() and x.requires_grad)
        and not torch.is_autocast_enabled("cpu")
    )
