"""Content-aware reassembly of features (CARAFE, https://arxiv.org/abs/1905.02188).

In plain torch: one pass over the output for each of the `kernel_size`**2 elements of the kernels.
Temporary tensors are as large as the output and the masks.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .shared import keep_types, single


@keep_types
def carafe_naive_forward(
    features: Tensor,
    masks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Write the upsampled features into `output`.

    Args:
        features: (N, C, H, W).
        masks: (N, kernel_size**2 * group_size, H * scale_factor, W * scale_factor), the kernel of
            each pixel of the output.
        output: (N, C, H * scale_factor, W * scale_factor), overwritten.
        kernel_size: Rows and columns of the kernels.
        group_size: Groups of channels that have kernels of their own.
        scale_factor: Ratio of output and input size.
    """
    kernels = _kernels(masks, kernel_size, group_size, scale_factor)
    result = kernels.new_zeros(_split(features.shape, group_size, scale_factor**2))
    padded = _pad(features, kernel_size, group_size)
    for number, window in enumerate(_windows(padded, kernel_size)):
        result.addcmul_(window, kernels[:, :, number, None])
    output.copy_(F.pixel_shuffle(result.flatten(1, 3), scale_factor))


@keep_types
def carafe_naive_backward(
    top_grad: Tensor,
    features: Tensor,
    masks: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Add the gradients of `carafe_naive_forward` to `bottom_grad` and `mask_grad`."""
    kernels = _kernels(masks, kernel_size, group_size, scale_factor)
    padded = _pad(features, kernel_size, group_size)
    grad = F.pixel_unshuffle(single(top_grad), scale_factor).view(
        _split(features.shape, group_size, scale_factor**2)
    )
    of_padded, of_kernels = torch.zeros_like(padded), torch.empty_like(kernels)
    for number, (window, of_window) in enumerate(
        zip(_windows(padded, kernel_size), _windows(of_padded, kernel_size), strict=True)
    ):
        of_kernels[:, :, number] = (grad * window).sum(2)
        of_window += (grad * kernels[:, :, number, None]).sum(3, keepdim=True)
    border = kernel_size // 2
    height, width = features.shape[2:]
    inner = of_padded[..., border : border + height, border : border + width]
    bottom_grad += inner.reshape(features.shape).to(bottom_grad.dtype)
    mask_grad += F.pixel_shuffle(of_kernels.flatten(1, 3), scale_factor).to(mask_grad.dtype)


def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Write the upsampled features into `output`, as `carafe_naive_forward`.

    The compiled op keeps channels-last copies in the tensors `r...`; of those only `rfeatures` is
    used again, by `carafe_backward`, and holds a plain copy of the features here.
    """
    rfeatures.copy_(features)
    carafe_naive_forward(features, masks, output, kernel_size, group_size, scale_factor)


def carafe_backward(
    top_grad: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rtop_grad: Tensor,
    rbottom_grad_hs: Tensor,
    rbottom_grad: Tensor,
    rmask_grad: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Add the gradients of `carafe_forward` to `bottom_grad` and `mask_grad`."""
    carafe_naive_backward(
        *(top_grad, rfeatures, masks, bottom_grad, mask_grad),
        *(kernel_size, group_size, scale_factor),
    )


def _split(shape: torch.Size, groups: int, pixels: int) -> tuple[int, ...]:
    """(N, groups, channels of a group, output pixels per input pixel, H, W)."""
    n, channels, height, width = shape
    return n, groups, channels // groups, pixels, height, width


def _kernels(masks: Tensor, kernel_size: int, groups: int, scale: int) -> Tensor:
    """(N, groups, kernel_size**2, scale**2, H, W): output pixels of an input pixel in one axis."""
    n, _, height, width = masks.shape
    return F.pixel_unshuffle(single(masks), scale).view(
        n, groups, kernel_size**2, scale**2, height // scale, width // scale
    )


def _pad(features: Tensor, kernel_size: int, groups: int) -> Tensor:
    """(N, groups, channels of a group, 1, H + kernel_size - 1, W + kernel_size - 1)."""
    padded = F.pad(single(features), [kernel_size // 2] * 4)
    return padded.view(_split(padded.shape, groups, 1))


def _windows(padded: Tensor, kernel_size: int) -> Iterator[Tensor]:
    """What each element of the kernels reads, (N, groups, channels of a group, 1, H, W) views."""
    height, width = (size - kernel_size + 1 for size in padded.shape[-2:])
    for y in range(kernel_size):
        for x in range(kernel_size):
            yield padded[..., y : y + height, x : x + width]
