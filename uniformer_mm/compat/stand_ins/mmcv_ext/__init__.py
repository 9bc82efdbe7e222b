"""Stand-in for `mmcv._ext`: the ops that stock models call, with the results of the compiled ones.

Names, arguments and outputs that are written in place are those of the compiled extension. An op
works on any device and, where the compiled one does, forward and backward; half precision (which
includes bfloat16 here) is computed in float32 and rounded once. Every other op can be looked up, as
mmcv does when it is imported, and raises an error that names it when it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from .carafe import carafe_backward, carafe_forward, carafe_naive_backward, carafe_naive_forward
from .deformable_attention import ms_deform_attn_backward, ms_deform_attn_forward
from .deformable_convolution import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from .focal_loss import (
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
    softmax_focal_loss_backward,
    softmax_focal_loss_forward,
)
from .masked_convolution import masked_col2im_forward, masked_im2col_forward
from .point_wise_attention import psamask_backward, psamask_forward
from .roi_align import roi_align_backward, roi_align_forward
from .roi_pooling import (
    deform_roi_pool_backward,
    deform_roi_pool_forward,
    roi_pool_backward,
    roi_pool_forward,
)
from .suppression import nms, nms_match, softnms
from .sync_batch_norm import (
    sync_bn_backward_data,
    sync_bn_backward_param,
    sync_bn_forward_mean,
    sync_bn_forward_output,
    sync_bn_forward_var,
)

__all__ = [
    "carafe_backward",
    "carafe_forward",
    "carafe_naive_backward",
    "carafe_naive_forward",
    "deform_conv_backward_input",
    "deform_conv_backward_parameters",
    "deform_conv_forward",
    "deform_roi_pool_backward",
    "deform_roi_pool_forward",
    "get_compiler_version",
    "get_compiling_cuda_version",
    "masked_col2im_forward",
    "masked_im2col_forward",
    "modulated_deform_conv_backward",
    "modulated_deform_conv_forward",
    "ms_deform_attn_backward",
    "ms_deform_attn_forward",
    "nms",
    "nms_match",
    "psamask_backward",
    "psamask_forward",
    "roi_align_backward",
    "roi_align_forward",
    "roi_pool_backward",
    "roi_pool_forward",
    "sigmoid_focal_loss_backward",
    "sigmoid_focal_loss_forward",
    "softmax_focal_loss_backward",
    "softmax_focal_loss_forward",
    "softnms",
    "sync_bn_backward_data",
    "sync_bn_backward_param",
    "sync_bn_forward_mean",
    "sync_bn_forward_output",
    "sync_bn_forward_var",
]

COMPILE_MMCV = (
    "Compiled ops come with mmcv in place of mmcv-lite: pip uninstall mmcv-lite, then "
    "pip install 'setuptools<81' wheel ninja, then pip install --no-build-isolation mmcv==2.1.0 "
    "(it compiles for about 24 minutes on 2 cores), or mim install mmcv==2.1.0 where a wheel "
    "exists for your torch."
)


def get_compiler_version() -> str:
    """What `collect_env` reports for an mmcv without compiled ops."""
    return "n/a"


def get_compiling_cuda_version() -> str:
    """What `collect_env` reports for an mmcv without compiled ops."""
    return "n/a"


def __getattr__(name: str) -> Callable[..., NoReturn]:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def missing_op(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            f"mmcv is installed without compiled ops and `{name}` has no replacement here. "
            + COMPILE_MMCV
        )

    missing_op.__name__ = name
    return missing_op
