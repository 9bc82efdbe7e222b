"""Feature maps in three colours, and the kernels of local blocks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uniformer_mm.datasets.media import Image

QUANTILES = (0.02, 0.98)
"""What a colour spans of the values of a component; outliers would leave it no contrast."""


class PrincipalColours:
    """The first three principal components of feature maps as red, green and blue.

    Components and ranges are those of the map it is made for, so that colours mean the same in all
    frames of a video. Their signs are fixed: the largest loading is positive.

    Args:
        features: (*grid, C).
    """

    def __init__(self, features: Tensor) -> None:
        flat = features.flatten(0, -2).double().cpu()
        self._mean = flat.mean(0)
        centred = flat - self._mean
        _, vectors = torch.linalg.eigh(centred.T @ centred)  # eigenvalues rise
        components = vectors[:, -3:].flip(1)
        largest = components.gather(0, components.abs().argmax(0, keepdim=True))
        self._components = components * largest.sign()
        projected = centred @ self._components
        self._low, self._high = projected.quantile(torch.tensor(QUANTILES).double(), dim=0)

    def __call__(self, features: Tensor) -> Image:
        """Colours (*grid, 3), uint8, BGR, of a map (*grid, C)."""
        projected = (features.double().cpu() - self._mean) @ self._components
        span = (self._high - self._low).clamp_min(1e-12)
        colours = ((projected - self._low) / span).clamp(0, 1) * 255
        return np.ascontiguousarray(colours.round().numpy().astype(np.uint8)[..., ::-1])


def activation_norms(features: Tensor) -> NDArray[np.float32]:
    """Root mean square over the channels of a map (*grid, C): (*grid)."""
    return features.float().square().mean(-1).sqrt().cpu().numpy()


def affinity_kernels(block: Any, strongest: int) -> Mapping[str, NDArray[np.float32]]:
    """What the local relation aggregator weights neighbours with.

    It is learned and the same for all tokens (arXiv 2201.09450, Section 3.3): one kernel (5, 5) or
    (5, 5, 5), the first axis time, per channel.

    Args:
        block: A `LocalBlock`.
        strongest: How many single channels are listed, those of the largest norm.

    Returns:
        By name: the mean of the absolute values over the channels, and single channels.
    """
    kernels = block.attn.weight.detach().float().cpu().numpy()[:, 0]
    norms = np.sqrt(np.square(kernels).sum(tuple(range(1, kernels.ndim))))
    chosen = np.argsort(-norms, kind="stable")[:strongest]
    named = {f"channel {channel}": kernels[channel] for channel in chosen}
    return {"mean of |weights|": np.abs(kernels).mean(0), **named}
