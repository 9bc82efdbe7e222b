"""The private parts of torch that the package uses, each with a fallback.

Where a release of torch lacks one, results stay the same: activations are stored instead of
recomputed, matrix products run without epilogues, an exported graph may take fewer sizes, and CPUs
are not used in half precision.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

TENSORS_HAVE_VERSIONS = hasattr(Tensor, "_version")
"""Whether in-place changes of a tensor can be detected. Fallback: nothing is recomputed."""


def version(tensor: Tensor) -> int:
    """Return the number of in-place changes of a tensor so far."""
    return tensor._version


def saved_tensors_hooks_are_active() -> bool:
    """Whether somebody's `saved_tensors_hooks` decide what the backward pass keeps.

    torch < 2.8 does not tell. Fallback: they may be, so nothing is recomputed.
    """
    top = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return top is None or top(False) is not None


def linear_pointwise() -> Any:
    """Return oneDNN's matrix product with an epilogue (GELU, addition); None if there is none."""
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def has_fast_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware: AVX512-BF16, or AMX with it."""
    return has_amx() or getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()


def has_amx() -> bool:
    """Whether the CPU multiplies tiles of bfloat16."""
    return getattr(torch.cpu, "_is_amx_tile_supported", bool)()


is_exporting = cast(
    Callable[[], bool], getattr(torch.compiler, "is_exporting", torch.jit.is_tracing)
)
"""Public since torch 2.7; before, an export by tracing."""


def drop_layout_guards(program: Any) -> None:
    """Drop the guards of an exported program for sizes at which convolutions change their layout.

    Results do not depend on the layout. Fallback: the program refuses some sizes.
    """
    getattr(program, "_guards_code", []).clear()


def raise_recompile_limit(number: int) -> None:
    """Let `torch.compile` keep this many graphs of a function.

    Fallback: with further kinds of input, the function runs eagerly.
    """
    from torch._dynamo import config

    for name in ("recompile_limit", "cache_size_limit"):  # the second is torch 2.6's
        if hasattr(config, name):
            setattr(config, name, max(getattr(config, name), number))
            return


def keep_running_eagerly() -> None:
    """Let code that `torch.compile` fails on run eagerly, with a warning.

    Fallback: the failure is an error.
    """
    from torch._dynamo import config

    if hasattr(config, "suppress_errors"):
        config.suppress_errors = True
