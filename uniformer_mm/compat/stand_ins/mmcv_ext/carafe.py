"""Content-aware reassembly of features (CARAFE, https://arxiv.org/abs/1905.02188).

`features` are (N, C, H, W), `output` is (N, C, H * scale_factor, W * scale_factor), and `masks` are
(N, kernel_size**2 * group_size, H * scale_factor, W * scale_factor): the kernel of each pixel of
the output, for each of `group_size` groups of channels. Each of the `kernel_size`**2 elements of
the kernels takes one pass over the output. Temporary tensors are as large as output and masks.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .shared import op, single


@op
def carafe_naive_forward(features: Tensor, masks: Tensor, output: Tensor, **sizes: int) -> None:
    """Write the upsampled features into `output`."""
    kernels, padded = _split(features, masks, **sizes)
    result = kernels.new_zeros(*padded.shape[:3], *kernels.shape[3:])
    for kernel, window in zip(kernels.unbind(2), _windows(padded, kernels), strict=True):
        result.addcmul_(window, kernel[:, :, None])
    output.copy_(F.pixel_shuffle(result.flatten(1, 3), sizes["scale_factor"]))


@op
def carafe_naive_backward(
    grad_output: Tensor,
    features: Tensor,
    masks: Tensor,
    grad_features: Tensor,
    grad_masks: Tensor,
    **sizes: int,
) -> None:
    """Add the gradients to `grad_features` and `grad_masks`."""
    kernels, padded = _split(features, masks, **sizes)
    grad = F.pixel_unshuffle(single(grad_output), sizes["scale_factor"])
    grad = grad.view(*padded.shape[:3], *kernels.shape[3:])
    of_padded, of_kernels = torch.zeros_like(padded), torch.empty_like(kernels)
    for number, (window, of_window) in enumerate(
        zip(_windows(padded, kernels), _windows(of_padded, kernels), strict=True)
    ):
        of_kernels[:, :, number] = (grad * window).sum(2)
        of_window += (grad * kernels[:, :, number, None]).sum(3, keepdim=True)
    border = [-(sizes["kernel_size"] // 2)] * 4
    grad_features += F.pad(of_padded, border).reshape(features.shape).to(grad_features.dtype)
    of_masks = F.pixel_shuffle(of_kernels.flatten(1, 3), sizes["scale_factor"])
    grad_masks += of_masks.to(grad_masks.dtype)


@op
def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    **sizes: int,
) -> None:
    """Write the upsampled features into `output`.

    The compiled op keeps channels-last copies in the tensors `r...`. Only `rfeatures` is used
    again, by `carafe_backward`; here it holds a plain copy of the features.
    """
    rfeatures.copy_(features)
    carafe_naive_forward(features, masks, output, **sizes)


@op
def carafe_backward(
    grad_output: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rgrad_output: Tensor,
    rgrad_features_hs: Tensor,
    rgrad_features: Tensor,
    rgrad_masks: Tensor,
    grad_features: Tensor,
    grad_masks: Tensor,
    **sizes: int,
) -> None:
    """Add the gradients to `grad_features` and `grad_masks`."""
    carafe_naive_backward(grad_output, rfeatures, masks, grad_features, grad_masks, **sizes)


def _split(
    features: Tensor, masks: Tensor, kernel_size: int, group_size: int, scale_factor: int
) -> tuple[Tensor, Tensor]:
    """Split channels into groups, and the output into pixels per pixel of the features.

    Returns:
        Kernels, (N, groups, kernel_size**2, scale_factor**2, H, W), and padded features, (N,
        groups, channels of a group, 1, H + kernel_size - 1, W + kernel_size - 1).
    """
    n, channels, height, width = features.shape
    kernels = F.pixel_unshuffle(single(masks), scale_factor)
    padded = F.pad(single(features), [kernel_size // 2] * 4)
    return (
        kernels.view(n, group_size, kernel_size**2, scale_factor**2, height, width),
        padded.view(n, group_size, channels // group_size, 1, *padded.shape[2:]),
    )


def _windows(padded: Tensor, kernels: Tensor) -> Iterator[Tensor]:
    """Yield a view of the features that each element of the kernels reads."""
    height, width = kernels.shape[-2:]
    for y in range(padded.shape[-2] - height + 1):
        for x in range(padded.shape[-1] - width + 1):
            yield padded[..., y : y + height, x : x + width]
