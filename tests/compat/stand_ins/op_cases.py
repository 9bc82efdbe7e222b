"""Calls of mmcv's ops, whose results are recorded from the compiled ones.

`python op_cases.py` writes the record where mmcv is compiled. Set CUDA=1 for ops that mmcv compiles
for GPUs only.
"""

import importlib
import json
import math
import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

RECORD = Path(__file__).with_name("compiled_ops.json")
DEVICE = "cuda" if os.environ.get("CUDA") else "cpu"


def pattern(*shape: int, step: int, low: float = -0.75, high: float = 0.75) -> Tensor:
    """Values that look irregular, float64."""
    unit = (torch.arange(math.prod(shape), dtype=torch.float64) * step % 101) / 101
    return (low + (high - low) * unit).reshape(shape).to(DEVICE)


ROIS = torch.tensor(
    # The last four: past the border, without area, one pixel high, and upside down if allowed.
    [
        [0, 1.5, 2.0, 17.5, 13.0],
        [1, 0.0, 0.0, 21.0, 19.0],
        [1, 12.5, 9.0, 33.0, 31.0],
        [0, 6.0, 6.0, 6.0, 6.0],
        [0, 3.0, 8.0, 19.0, 8.5],
    ],
    dtype=torch.float64,
).to(DEVICE)


def deform_conv(ext: ModuleType, zero: bool) -> list[Tensor]:
    group = 1 if zero else 2
    kernel, stride, padding, dilation = ((3, 3), (1, 1), (1, 1), (1, 1))
    if not zero:
        kernel, stride, padding, dilation = ((2, 3), (2, 1), (1, 2), (1, 2))
    input = pattern(2, 4, 4, 3, step=37)
    weight = pattern(4, 4 // group, *kernel, step=29)
    out = [
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, s, p, d in zip((4, 3), kernel, stride, padding, dilation, strict=True)
    ]
    offset = pattern(2, group * 2 * math.prod(kernel), *out, step=43, low=-2, high=2) * (not zero)
    output = input.new_empty(2, 4, *out)
    grad_output = pattern(*output.shape, step=53)
    grads = [torch.zeros_like(tensor) for tensor in (input, offset, weight)]
    columns, ones = input.new_empty(0), input.new_empty(0)
    names = ("kW", "kH", "dW", "dH", "padW", "padH", "dilationW", "dilationH")
    pairs = (kernel, stride, padding, dilation)
    settings = dict(zip(names, (value for pair in pairs for value in pair[::-1]), strict=True))
    settings |= {"group": group, "deformable_group": group, "im2col_step": 1}
    ext.deform_conv_forward(input, weight, offset, output, columns, ones, **settings)
    ext.deform_conv_backward_input(
        input, offset, grad_output.clone(), *grads[:2], weight, columns, **settings
    )
    ext.deform_conv_backward_parameters(
        input, offset, grad_output.clone(), grads[2], columns, ones, **settings, scale=2
    )
    return [output, *grads]


def modulated_deform_conv(ext: ModuleType, with_bias: bool, larger: bool) -> list[Tensor]:
    input, weight = pattern(2, 4, 2, 3, step=37), pattern(2, 2, 3, 3, step=29)
    bias = pattern(2, step=17) if with_bias else input.new_empty(0)
    # mmdet's DyHead passes the offsets of a larger map, which are read in order.
    size = (4, 6) if larger else (2, 3)
    offset = pattern(2, 36, *size, step=43, low=-2, high=2)
    mask = pattern(2, 18, *size, step=31, low=0, high=1)
    output, buffer = input.new_empty(2, 2, 2, 3), input.new_empty(0)
    grads = [torch.zeros_like(tensor) for tensor in (input, weight, bias, offset, mask)]
    sides = ("h", "w")
    settings = {f"{name}_{side}": 1 for name in ("stride", "pad", "dilation") for side in sides}
    settings |= {"kernel_h": 3, "kernel_w": 3, "group": 2, "deformable_group": 2}
    settings["with_bias"] = with_bias
    ext.modulated_deform_conv_forward(
        input, weight, bias, buffer, offset, mask, output, buffer, **settings
    )
    ext.modulated_deform_conv_backward(
        *(input, weight, bias, buffer, offset, mask, buffer),
        *(*grads, pattern(2, 2, 2, 3, step=53)),
        **settings,
    )
    if larger:  # the rest are zeros
        grads[3:] = [grad.flatten(1)[:, : grad[0].numel() // 4] for grad in grads[3:]]
    return [output, *grads]


def roi_pool(ext: ModuleType, scale: float) -> list[Tensor]:
    input = pattern(2, 2, 6, 7, step=37)
    output = input.new_zeros(5, 2, 2, 3)
    argmax = torch.zeros_like(output, dtype=torch.int)
    grad_input = torch.zeros_like(input)
    settings = {"pooled_height": 2, "pooled_width": 3, "spatial_scale": scale}
    ext.roi_pool_forward(input, ROIS, output, argmax, **settings)
    ext.roi_pool_backward(pattern(5, 2, 2, 3, step=53), ROIS, argmax, grad_input, **settings)
    return [output, argmax, grad_input]


def max_roi_align(ext: ModuleType, sampling_ratio: int, aligned: bool) -> list[Tensor]:
    # Without samples the compiled ops differ: RoI 3 has no area.
    rois = ROIS if sampling_ratio or not aligned else ROIS[[0, 1, 2, 4]]
    input = pattern(2, 2, 6, 7, step=37)
    output, argmax_y, argmax_x = (input.new_zeros(len(rois), 2, 2, 3) for _ in range(3))
    grad_input = torch.zeros_like(input)
    settings = {"aligned_height": 2, "aligned_width": 3, "spatial_scale": 0.3, "pool_mode": 0}
    settings |= {"sampling_ratio": sampling_ratio, "aligned": aligned}
    ext.roi_align_forward(input, rois, output, argmax_y, argmax_x, **settings)
    grad_output = pattern(*output.shape, step=53)
    ext.roi_align_backward(grad_output, rois, argmax_y, argmax_x, grad_input, **settings)
    return [output, argmax_y, argmax_x, grad_input]


def deform_roi_pool(ext: ModuleType, sampling_ratio: int, with_offset: bool) -> list[Tensor]:
    input = pattern(2, 2, 6, 7, step=37)
    offset = pattern(5, 2, 2, 3, step=43, low=-2, high=2) if with_offset else input.new_zeros(0)
    output = input.new_zeros(5, 2, 2, 3)
    grad_input, grad_offset = torch.zeros_like(input), torch.zeros_like(offset)
    settings = {"pooled_height": 2, "pooled_width": 3, "spatial_scale": 0.3}
    settings |= {"sampling_ratio": sampling_ratio, "gamma": 0.1}
    ext.deform_roi_pool_forward(input, ROIS, offset, output, **settings)
    ext.deform_roi_pool_backward(
        pattern(5, 2, 2, 3, step=53), input, ROIS, offset, grad_input, grad_offset, **settings
    )
    return [output, grad_input, grad_offset]


def ms_deform_attn(ext: ModuleType) -> list[Tensor]:
    shapes = torch.tensor([[3, 4], [2, 2]], device=DEVICE)
    starts = torch.tensor([0, 12], device=DEVICE)
    value = pattern(2, 16, 2, 3, step=37)
    locations = pattern(2, 3, 2, 2, 2, 2, step=43, low=-0.2, high=1.2)
    locations[0, 0, 0, 0] = torch.tensor([[-0.125, 0.5], [0.3, -1 / 6]])  # one pixel outside
    weights = pattern(2, 3, 2, 2, 2, step=31, low=0, high=1)
    inputs = (value, shapes, starts, locations, weights)
    output = ext.ms_deform_attn_forward(*inputs, im2col_step=64)
    grads = [torch.zeros_like(tensor) for tensor in (value, locations, weights)]
    ext.ms_deform_attn_backward(*inputs, pattern(2, 3, 6, step=53), *grads, im2col_step=64)
    return [output, *grads]


def focal_loss(ext: ModuleType, kind: str, weighted: bool) -> list[Tensor]:
    logits = pattern(5, 3, step=37, low=-30, high=30)
    target = torch.tensor([0, 2, 1, 2 if weighted else 3, 0], device=DEVICE)
    if kind == "softmax":
        logits, target = (logits / 8).softmax(1), target.clamp(max=2)
    weight = pattern(3, step=29, low=0.5, high=2) if weighted else logits.new_empty(0)
    output = logits.new_zeros(logits.shape if kind == "sigmoid" else len(logits))
    buffer = [] if kind == "sigmoid" else [logits.new_zeros(len(logits))]
    grad = torch.zeros_like(logits)
    settings = {"gamma": 1.5, "alpha": 0.3}
    getattr(ext, f"{kind}_focal_loss_forward")(logits, target, weight, output, **settings)
    getattr(ext, f"{kind}_focal_loss_backward")(logits, target, weight, *buffer, grad, **settings)
    return [output, *buffer, grad]


def carafe(ext: ModuleType, groups: int, scale: int) -> list[Tensor]:
    features = pattern(2, 4, 3, 2, step=37)
    masks = pattern(2, 9 * groups, 3 * scale, 2 * scale, step=29)
    output = features.new_zeros(2, 4, 3 * scale, 2 * scale)
    grads = [torch.zeros_like(tensor) for tensor in (features, masks)]
    settings = {"kernel_size": 3, "group_size": groups, "scale_factor": scale}
    ext.carafe_naive_forward(features, masks, output, **settings)
    grad_output = pattern(*output.shape, step=53)
    ext.carafe_naive_backward(grad_output, features, masks, *grads, **settings)
    return [output, *grads]


def psamask(ext: ModuleType, kind: int, h_mask: int, w_mask: int) -> list[Tensor]:
    input, grad_output = pattern(2, h_mask * w_mask, 2, 3, step=37), pattern(2, 6, 2, 3, step=53)
    output, grad_input = torch.zeros_like(grad_output), torch.zeros_like(input)
    settings = {"psa_type": kind, "num_": 2, "h_feature": 2, "w_feature": 3}
    settings |= {"h_mask": h_mask, "w_mask": w_mask}
    settings |= {"half_h_mask": (h_mask - 1) // 2, "half_w_mask": (w_mask - 1) // 2}
    ext.psamask_forward(input, output, **settings)
    ext.psamask_backward(grad_output, grad_input, **settings)
    return [output, grad_input]


def masked_conv(ext: ModuleType, kernel: int) -> list[Tensor]:
    rows, columns = (torch.tensor(i, device=DEVICE) for i in ([0, 1, 1, 3], [2, 0, 2, 1]))
    features, gathered = pattern(1, 2, 4, 3, step=37), pattern(2 * kernel**2, 4, step=0)
    settings = {"kernel_h": kernel, "kernel_w": kernel, "pad_h": kernel // 2, "pad_w": 0}
    ext.masked_im2col_forward(features, rows, columns, gathered, **settings)
    scattered = torch.zeros_like(features)
    ext.masked_col2im_forward(
        gathered[:2].contiguous(), rows, columns, scattered, height=4, width=3, channels=2
    )
    return [gathered, scattered]


def crowd(ties: bool) -> tuple[Tensor, Tensor]:
    """Boxes that overlap, and their scores, of which some are equal; on the CPU."""
    corners = pattern(24, 2, step=37, low=0, high=20).cpu()
    sides = pattern(24, 2, step=29, low=2, high=15).cpu()
    scores = pattern(24, step=43, low=0, high=1).cpu()
    boxes = torch.cat([corners, corners + sides], 1)
    return boxes.round().float() if ties else boxes.float(), (
        (scores * 5).round() / 5 if ties else scores
    ).float()


def softnms(ext: ModuleType, method: int, offset: int, ties: bool) -> list[Tensor]:
    boxes, scores = crowd(ties)
    dets = boxes.new_zeros(24, 5)
    settings = {"iou_threshold": 0.3, "sigma": 0.5, "min_score": 0.1}
    kept = ext.softnms(boxes, scores, dets, **settings, method=method, offset=offset)
    return [kept, dets[: len(kept)]]


def nms_match(ext: ModuleType, ties: bool) -> list[Tensor]:
    boxes, scores = crowd(ties)
    groups = ext.nms_match(torch.cat([boxes, scores[:, None]], 1), iou_threshold=0.3)
    return [torch.tensor(group) for group in groups]


def cases(op: Callable, **choices: tuple) -> dict[str, tuple[Callable, dict[str, Any]]]:
    """Every combination of settings of an op, by name."""
    settings = [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]
    return {
        " ".join([op.__name__, *(f"{name}={value}" for name, value in setting.items())]): (
            op,
            setting,
        )
        for setting in settings
    }


CASES = {
    **cases(deform_conv, zero=(True, False)),
    **cases(modulated_deform_conv, with_bias=(True,), larger=(False,)),
    **cases(modulated_deform_conv, with_bias=(False,), larger=(True,)),
    **cases(roi_pool, scale=(0.3, 0.5)),
    **cases(max_roi_align, sampling_ratio=(0, 2), aligned=(True, False)),
    **cases(deform_roi_pool, sampling_ratio=(0, 2), with_offset=(True, False)),
    **cases(ms_deform_attn),
    **cases(focal_loss, kind=("sigmoid", "softmax"), weighted=(True, False)),
    **cases(carafe, groups=(1, 2), scale=(1, 2)),
    **cases(psamask, kind=(0, 1), h_mask=(3, 2), w_mask=(5,)),
    **cases(masked_conv, kernel=(1, 3)),
    **cases(softnms, method=(0, 1, 2), offset=(0, 1), ties=(False, True)),
    **cases(nms_match, ties=(False, True)),
}


def record(ext: ModuleType, made_by: str) -> None:
    """Write the results of all cases."""
    results = {
        name: [[float(f"{x:.6g}") for x in tensor.flatten().tolist()] for tensor in op(ext, **how)]
        for name, (op, how) in CASES.items()
    }
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(r)}" for name, r in results.items())
    RECORD.write_text(f'{{"made_by": {json.dumps(made_by)},\n{lines}}}\n')


if __name__ == "__main__":
    record(importlib.import_module("mmcv._ext"), f"mmcv._ext, torch {torch.__version__}, {DEVICE}")
