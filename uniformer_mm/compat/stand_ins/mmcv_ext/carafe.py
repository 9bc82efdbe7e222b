"""Content-aware reassembly of features (CARAFE, https://arxiv.org/abs/1905.02188).

`features` are (N, C, H, W), `output` is (N, C, H * scale_factor, W * scale_factor), and `masks` are
(N, kernel_size**2 * group_size, H * scale_factor, W * scale_factor): the kernel of each pixel of
the output, for each of `group_size` groups of channels.
"""

from __future__ import annotations

import functools

import torch.nn.functional as F
from torch import Tensor

from .shared import gradients, op, single


@op
def carafe_naive_forward(features: Tensor, masks: Tensor, output: Tensor, **sizes: int) -> None:
    """Write the upsampled features into `output`."""
    output.copy_(_reassemble(single(features), single(masks), **sizes))


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
    if not grad_output.numel():  # torch's pixel_shuffle cannot go backward
        return
    reassemble = functools.partial(_reassemble, **sizes)
    grads = gradients(reassemble, (single(features), single(masks)), single(grad_output))
    grad_features += grads[0].to(grad_features.dtype)
    grad_masks += grads[1].to(grad_masks.dtype)


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


def _reassemble(
    features: Tensor, masks: Tensor, /, kernel_size: int, group_size: int, scale_factor: int
) -> Tensor:
    """Upsample, with one pass over the output for each element of the kernels."""
    n, channels, height, width = features.shape
    pixels = scale_factor**2  # of the output, per pixel of the features
    kernels = F.pixel_unshuffle(masks, scale_factor).view(
        n, group_size, kernel_size**2, 1, pixels, height, width
    )
    padded = F.pad(features, [kernel_size // 2] * 4)
    padded = padded.view(n, group_size, channels // group_size, 1, *padded.shape[2:])
    result = features.new_zeros(n, group_size, channels // group_size, pixels, height, width)
    for number, kernel in enumerate(kernels.unbind(2)):
        y, x = divmod(number, kernel_size)
        result.addcmul_(padded[..., y : y + height, x : x + width], kernel)
    return F.pixel_shuffle(result.flatten(1, 3), scale_factor)
