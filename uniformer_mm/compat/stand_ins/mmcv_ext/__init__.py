"""Stand-in for `mmcv._ext`: the ops that stock models call, with the results of the compiled ops.

Names, arguments and outputs written in place are those of the compiled extension. An op runs on any
device and, where the compiled one does, forward and backward. Half precision (float16 and bfloat16)
is computed in float32 and rounded once. Any other op can be looked up, as mmcv does on import, and
raises an error that names it when it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from . import (  # noqa: F401  each registers its ops
    carafe,
    deformable_attention,
    deformable_convolution,
    focal_loss,
    masked_convolution,
    point_wise_attention,
    roi_align,
    roi_pooling,
    suppression,
    sync_batch_norm,
)
from .shared import OPS

globals().update(OPS)

COMPILE_MMCV = (
    "Compiled ops come with mmcv in place of mmcv-lite: pip uninstall mmcv-lite, then "
    "pip install 'setuptools<81' wheel ninja, then pip install --no-build-isolation mmcv==2.1.0 "
    "(it compiles for about 24 minutes on 2 cores), or mim install mmcv==2.1.0 where a wheel "
    "exists for your torch."
)


def get_compiler_version() -> str:
    """Return what `collect_env` reports for an mmcv without compiled ops."""
    return "n/a"


get_compiling_cuda_version = get_compiler_version


def __getattr__(name: str) -> Callable[..., Any]:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def missing_op(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            f"mmcv is installed without compiled ops and `{name}` has no replacement here. "
            + COMPILE_MMCV
        )

    missing_op.__name__ = name
    return missing_op
