"""Deformable convolution, with and without modulation, by torchvision."""

# ruff: noqa: N803 - mmcv passes arguments by these names

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .shared import keep_types, single, torchvision_ops


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Write the deformable convolution of `input` into `output`.

    Deformable Convolutional Networks (https://arxiv.org/abs/1703.06211).

    Args:
        input: (N, C, H, W) features.
        weight: (O, C / group, kH, kW).
        offset: (N, deformable_group * kH * kW * 2, H_out, W_out), y before x.
        output: (N, O, H_out, W_out), overwritten.
        columns: Buffer, see `deform_conv_backward_parameters`.
        ones: Not used.
        kW: Columns of the kernel.
        kH: Rows of the kernel.
        dW: Stride along a row.
        dH: Stride along a column.
        padW: Zeros on the left and on the right.
        padH: Zeros above and below.
        dilationW: Distance of kernel elements along a row.
        dilationH: Distance of kernel elements along a column.
        group: Groups of channels that are convolved separately.
        deformable_group: Groups of input channels with offsets of their own.
        im2col_step: Not used; torchvision decides how many images it takes at a time.
    """
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    _forward(input, weight, offset, None, None, output, geometry)


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradInput: Tensor,
    gradOffset: Tensor,
    weight: Tensor,
    columns: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Add the gradients of `deform_conv_forward` to `gradInput` and `gradOffset`."""
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    grads = _backward(input, weight, offset, None, None, gradOutput, geometry)
    gradInput.add_(grads[0])
    gradOffset.add_(grads[2])
    columns.resize_(weight.shape).copy_(grads[1])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradWeight: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Add `scale` times the gradient of `deform_conv_forward` to `gradWeight`.

    torchvision computes all gradients at once. mmcv asks for those of the input first and passes
    the same buffer `columns` both times: it hands the gradient of the weights over.
    """
    if not columns.numel():
        geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
        weight = torch.zeros_like(gradWeight)
        grad = _backward(input, weight, offset, None, None, gradOutput, geometry)[1]
        columns.resize_(weight.shape).copy_(grad)
    gradWeight.add_(columns, alpha=scale)
    columns.resize_(0)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Write the modulated deformable convolution of `input` into `output`.

    Deformable ConvNets v2 (https://arxiv.org/abs/1811.11168). `mask` is (N, deformable_group *
    kernel_h * kernel_w, H_out, W_out), `bias` (O,); the others as in `deform_conv_forward`.
    """
    geometry = (
        *(stride_h, stride_w, pad_h, pad_w),
        *(dilation_h, dilation_w, group, deformable_group),
    )
    size = output.shape[2:]
    _forward(
        *(input, weight, _read_as(offset, size), _read_as(mask, size)),
        *(bias if with_bias else None, output, geometry),
    )


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Add the gradients of `modulated_deform_conv_forward` to the tensors `grad_...`."""
    geometry = (
        *(stride_h, stride_w, pad_h, pad_w),
        *(dilation_h, dilation_w, group, deformable_group),
    )
    size = grad_output.shape[2:]
    grads = _backward(
        *(input, weight, _read_as(offset, size), _read_as(mask, size)),
        *(bias if with_bias else None, grad_output, geometry),
    )
    grad_input += grads[0]
    grad_weight += grads[1]
    for target, grad in ((grad_offset, grads[2]), (grad_mask, grads[3])):
        # What was not read has no gradient.
        of_image = grad.flatten(1)
        target += F.pad(of_image, (0, target[0].numel() - of_image.shape[1])).view(target.shape)
    if with_bias:
        grad_bias += grads[4]


def _read_as(tensor: Tensor, size: torch.Size) -> Tensor:
    """(N, C, ...) offsets or masks for an output of a size, their values taken in order.

    The compiled op does not compare the sizes. mmdet's DyHead relies on it: it convolves a small
    map with offsets of the next larger one, of which the first values are read, row by row.
    """
    n, channels, *larger = tensor.shape
    if tuple(larger) == tuple(size):
        return tensor
    needed = channels * math.prod(size)
    if math.prod(larger) < math.prod(size):
        raise ValueError(
            f"modulated_deform_conv: offset and mask are {larger[0]}x{larger[1]}, the output is "
            f"{size[0]}x{size[1]}"
        )
    return tensor.flatten(1)[:, :needed].reshape(n, channels, *size)


@keep_types
def _forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    output: Tensor,
    geometry: tuple[int, ...],
) -> None:
    operands = _operands(input, weight, offset, mask, bias)
    output.copy_(torchvision_ops().deform_conv2d(*operands, *geometry, mask is not None))


@keep_types
def _backward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    grad_output: Tensor,
    geometry: tuple[int, ...],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of input, weight, offset, mask and bias."""
    operands = _operands(input, weight, offset, mask, bias)
    grads = torchvision_ops()._deform_conv2d_backward(
        single(grad_output), *operands, *geometry, mask is not None
    )
    _drop_slope_at_the_border(grads[2], operands[2], weight, geometry)
    return grads


def _operands(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, bias: Tensor | None
) -> list[Tensor]:
    """What torchvision's operators take, in its order."""
    if mask is None:
        mask = input.new_zeros(len(input), 1)
    if bias is None:
        bias = weight.new_zeros(len(weight))
    return [single(tensor).contiguous() for tensor in (input, weight, offset, mask, bias)]


def _drop_slope_at_the_border(
    grad_offset: Tensor, offset: Tensor, weight: Tensor, geometry: tuple[int, ...]
) -> None:
    """Clear the gradient of offsets that sample exactly one pixel outside of the features.

    There the samples have a kink. The compiled op takes the slope on the outer side, which is 0,
    torchvision that on the inner side. Offsets that start at zero meet it along a padded border.
    """
    stride, padding, dilation = geometry[0:2], geometry[2:4], geometry[4:6]
    n, _, *size = offset.shape
    kernel = weight.shape[2:]
    shape = (n, -1, *kernel, 2, *size)
    for axis, as_row in ((0, (slice(None), None)), (1, (None, slice(None)))):
        output = torch.arange(size[axis], dtype=offset.dtype, device=offset.device)
        element = torch.arange(kernel[axis], dtype=offset.dtype, device=offset.device)
        start = element[:, None] * dilation[axis] + output * stride[axis] - padding[axis]
        position = offset.view(shape)[:, :, :, :, axis] + start[as_row * 2]
        grad_offset.view(shape)[:, :, :, :, axis].masked_fill_(position == -1, 0)
