"""Deformable convolution (https://arxiv.org/abs/1703.06211), by torchvision.

`input` is (N, C, H, W), `weight` (O, C / group, kernel rows, kernel columns) and `offset` (N,
deformable_group * kernel rows * kernel columns * 2, H_out, W_out), y before x. The modulated op
(https://arxiv.org/abs/1811.11168) also takes `mask`, (N, deformable_group * kernel rows * kernel
columns, H_out, W_out), and `bias`, (O,). `geometry` are stride, padding, dilation and groups under
the names that mmcv gives them. Kernel sizes, `im2col_step` and `ones` are not used.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .shared import op, single, torchvision_ops


@op
def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    **geometry: int,
) -> None:
    """Write the deformable convolution of `input` into `output`."""
    output.copy_(_forward(_operands(input, weight, offset), geometry))


@op
def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **geometry: int,
) -> None:
    """Add the gradients to `grad_input` and `grad_offset`.

    torchvision computes all gradients at once. mmcv asks for that of the weights afterwards, with
    the same buffer `columns`, which passes it on.
    """
    grads = _backward(grad_output, _operands(input, weight, offset), geometry)
    grad_input.add_(grads[0])
    grad_offset.add_(grads[2])
    columns.resize_(weight.shape).copy_(grads[1])


@op
def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float,
    **geometry: int,
) -> None:
    """Add `scale` times the gradient to `grad_weight`."""
    if not columns.numel():
        operands = _operands(input, torch.zeros_like(grad_weight), offset)
        columns.resize_(grad_weight.shape).copy_(_backward(grad_output, operands, geometry)[1])
    grad_weight.add_(columns, alpha=scale)
    columns.resize_(0)


@op
def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    with_bias: bool,
    **geometry: int,
) -> None:
    """Write the modulated deformable convolution of `input` into `output`."""
    offset, mask = (_read_as(tensor, output.shape[2:]) for tensor in (offset, mask))
    operands = _operands(input, weight, offset, mask, bias if with_bias else None)
    output.copy_(_forward(operands, geometry))


@op
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
    with_bias: bool,
    **geometry: int,
) -> None:
    """Add the gradients to the tensors `grad_...`."""
    offset, mask = (_read_as(tensor, grad_output.shape[2:]) for tensor in (offset, mask))
    operands = _operands(input, weight, offset, mask, bias if with_bias else None)
    grads = _backward(grad_output, operands, geometry)
    grad_input += grads[0]
    grad_weight += grads[1]
    for target, grad in ((grad_offset, grads[2]), (grad_mask, grads[3])):
        # Values that were not read have no gradient.
        of_image = grad.flatten(1)
        target += F.pad(of_image, (0, target[0].numel() - of_image.shape[1])).view(target.shape)
    if with_bias:
        grad_bias += grads[4]


def _read_as(tensor: Tensor, size: torch.Size) -> Tensor:
    """Read (N, C, ...) offsets or masks in order, for an output of a size.

    The compiled op does not compare the sizes. mmdet's DyHead relies on it: it convolves a small
    map with offsets of the next larger one, of which the first values are read, row by row.
    """
    n, channels, *larger = tensor.shape
    if tuple(larger) == tuple(size):
        return tensor
    if math.prod(larger) < math.prod(size):
        raise ValueError(
            f"modulated_deform_conv: offset and mask are {larger[0]}x{larger[1]}, the output is "
            f"{size[0]}x{size[1]}"
        )
    return tensor.flatten(1)[:, : channels * math.prod(size)].reshape(n, channels, *size)


def _operands(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
) -> list[Tensor]:
    """Return the tensors that torchvision's operators take; those that are absent are zeros."""
    if mask is None:
        mask = input.new_zeros(len(input), 0)
    if bias is None:
        bias = weight.new_zeros(len(weight))
    return [single(tensor).contiguous() for tensor in (input, weight, offset, mask, bias)]


def _forward(operands: list[Tensor], geometry: dict[str, int]) -> Tensor:
    has_mask = operands[3].numel() > 0
    return torchvision_ops().deform_conv2d(*operands, *_numbers(geometry), has_mask)


def _backward(
    grad_output: Tensor, operands: list[Tensor], geometry: dict[str, int]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Compute the gradients of input, weight, offset, mask and bias."""
    numbers, has_mask = _numbers(geometry), operands[3].numel() > 0
    grads = torchvision_ops()._deform_conv2d_backward(
        single(grad_output), *operands, *numbers, has_mask
    )
    _, weight, offset, *_ = operands
    _drop_slope_at_the_border(grads[2], offset, weight.shape[2:], numbers)
    return grads


def _numbers(geometry: dict[str, int]) -> list[int]:
    """Stride, padding and dilation, rows first, and groups, as torchvision orders them."""
    modulated = "stride_h" in geometry
    sides = ("_h", "_w") if modulated else ("H", "W")
    names = ("stride" if modulated else "d", "pad", "dilation")
    sizes = [geometry[name + side] for name in names for side in sides]
    return [*sizes, geometry["group"], geometry["deformable_group"]]


def _drop_slope_at_the_border(
    grad_offset: Tensor, offset: Tensor, kernel: torch.Size, numbers: list[int]
) -> None:
    """Clear the gradient of offsets that sample exactly one pixel outside of the features.

    There the samples have a kink. The compiled op takes the slope on the outer side, which is 0,
    torchvision that on the inner side. Offsets that start at zero meet it along a padded border.
    """
    stride, padding, dilation = numbers[0:2], numbers[2:4], numbers[4:6]
    n, _, *size = offset.shape
    shape = (n, -1, *kernel, 2, *size)
    for axis, as_row in ((0, (slice(None), None)), (1, (None, slice(None)))):
        output = torch.arange(size[axis], dtype=offset.dtype, device=offset.device)
        element = torch.arange(kernel[axis], dtype=offset.dtype, device=offset.device)
        start = element[:, None] * dilation[axis] + output * stride[axis] - padding[axis]
        position = offset.view(shape)[:, :, :, :, axis] + start[as_row * 2]
        grad_offset.view(shape)[:, :, :, :, axis].masked_fill_(position == -1, 0)
