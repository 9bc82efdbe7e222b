"""Stand-in for `mmcv._ext`: the ops that our models call, with the results of the compiled ones.

Signatures are those of the compiled extension. Every other op can be looked up, as mmcv does when
it is imported, and raises an error that names it when it is called.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

COMPILE_MMCV = (
    "Compiled ops come with mmcv in place of mmcv-lite: pip uninstall mmcv-lite, then "
    "pip install 'setuptools<81' wheel ninja, then pip install --no-build-isolation mmcv==2.1.0 "
    "(it compiles for about 24 minutes on 2 cores), or mim install mmcv==2.1.0 where a wheel "
    "exists for your torch."
)

PURE_TORCH = {
    "sigmoid_focal_loss": "mmdet.models.losses.focal_loss.py_sigmoid_focal_loss",
    "ms_deform_attn": "mmcv.ops.multi_scale_deform_attn.multi_scale_deformable_attn_pytorch",
}


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Greedy non-maximum suppression.

    Args:
        boxes: (N, 4) x1, y1, x2, y2, compared in float32; the compiled op takes no other type, but
            detectors under bfloat16 autocast on CPUs give it theirs.
        scores: (N,), of any type.
        iou_threshold: A box is dropped if its IoU with a better one is above.
        offset: 0 or 1; a box is `x2 - x1 + offset` wide.

    Returns:
        Indices of the boxes that are kept, best score first.
    """
    boxes = boxes.float()
    if offset:
        # torchvision has no offset: moving x2 and y2 gives the same widths, heights and overlaps.
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    # Sorted here as the compiled op does, because torchvision orders equal scores differently.
    order = scores.sort(descending=True).indices
    descending = torch.arange(scores.numel(), 0, -1, dtype=boxes.dtype, device=boxes.device)
    with _no_autocast(boxes):
        kept = _torchvision_ops().nms(boxes[order], descending, _float32(iou_threshold))
    return order[kept]


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the RoIAlign of `input` into `output`.

    Args:
        input: (N, C, H, W) features.
        rois: (K, 5) batch index, x1, y1, x2, y2 in image pixels.
        output: (K, C, aligned_height, aligned_width), overwritten.
        argmax_y: Used by the compiled op for max pooling only.
        argmax_x: Likewise.
        aligned_height: Rows of bins per RoI.
        aligned_width: Columns of bins per RoI.
        spatial_scale: Feature pixels per image pixel.
        sampling_ratio: Samples per bin and axis, 0 for as many as the bin has pixels.
        pool_mode: 1 for the mean of the samples, the only one there is here.
        aligned: Whether pixel centres lie at half integers.
    """
    _require_mean_pooling(pool_mode)
    dtype = _roi_align_dtype(input, rois)
    # The compiled op computes in the type of its inputs, torchvision in float32 under autocast.
    with _no_autocast(input):
        pooled = _torchvision_ops().roi_align(
            input.to(dtype),
            rois.to(dtype),
            _float32(spatial_scale),
            aligned_height,
            aligned_width,
            sampling_ratio,
            aligned,
        )
    output.copy_(pooled)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Add the gradient of RoIAlign with respect to its input to `grad_input`.

    Args:
        grad_output: (K, C, aligned_height, aligned_width) gradient of the output.
        rois: As in `roi_align_forward`.
        argmax_y: As in `roi_align_forward`.
        argmax_x: As in `roi_align_forward`.
        grad_input: (N, C, H, W), added to.
        aligned_height: As in `roi_align_forward`.
        aligned_width: As in `roi_align_forward`.
        spatial_scale: As in `roi_align_forward`.
        sampling_ratio: As in `roi_align_forward`.
        pool_mode: As in `roi_align_forward`.
        aligned: As in `roi_align_forward`.
    """
    _require_mean_pooling(pool_mode)
    dtype = _roi_align_dtype(grad_output, rois)
    grad_input += _torchvision_ops()._roi_align_backward(
        grad_output.to(dtype),
        rois.to(dtype),
        _float32(spatial_scale),
        aligned_height,
        aligned_width,
        *grad_input.shape,
        sampling_ratio,
        aligned,
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
        raise NotImplementedError(_missing(name))

    missing_op.__name__ = name
    return missing_op


def _missing(op: str) -> str:
    """Error text for an op that only a compiled mmcv has."""
    message = f"mmcv is installed without compiled ops and `{op}` has no replacement here. "
    for prefix, function in PURE_TORCH.items():
        if op.startswith(prefix):
            message += f"A version in plain torch exists: {function}. "
    return message + COMPILE_MMCV


def _require_mean_pooling(pool_mode: int) -> None:
    if pool_mode != 1:
        raise NotImplementedError(_missing("roi_align with pool_mode='max'"))


def _roi_align_dtype(features: Tensor, rois: Tensor) -> torch.dtype:
    """The type to compute RoIAlign in.

    That of both tensors. Where they differ, or are bfloat16, the compiled op refuses them and so
    does torchvision's: single precision, or double if one of them is.
    """
    if features.dtype == rois.dtype != torch.bfloat16:
        return features.dtype
    return torch.promote_types(torch.promote_types(features.dtype, rois.dtype), torch.float32)


def _float32(value: float) -> float:
    """Round as the compiled ops do, whose scalar arguments are single precision."""
    return ctypes.c_float(value).value


def _no_autocast(tensor: Tensor) -> torch.autocast:
    return torch.autocast(tensor.device.type, enabled=False)


def _torchvision_ops() -> Any:
    """The namespace of torchvision's operators, imported on first use."""
    try:
        import torchvision  # noqa: F401

        ops = torch.ops.torchvision
        _ = ops.nms, ops.roi_align, ops._roi_align_backward
    except (ImportError, RuntimeError, AttributeError) as error:
        raise RuntimeError(
            "mmcv is installed without compiled ops and torchvision, which replaces nms and "
            f"roi_align, does not work with torch {torch.__version__}: {error}. Install torch and "
            "torchvision from the same place: a CPU build of one does not fit a CUDA build of the "
            "other."
        ) from error
    return ops
