"""Replacement of modules in heads that torch.export traces for one input size."""

from typing import Any

import torch
from torch import Tensor, nn


class AdaptivePool(nn.Module):
    """Adaptive average pooling as products with two matrices.

    PyTorch's own is traced for one size of the map: the pixels of a cell become constants.

    Args:
        size: Height and width of the output.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, *size)."""
        down, across = (
            _averages(cells, length, x)
            for cells, length in zip(self.size, x.shape[-2:], strict=True)
        )
        return down @ x @ across.transpose(0, 1)


class MeanPool(nn.Module):
    """Global average pooling of images or clips."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.axes = tuple(range(-dims, 0))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, [T,] H, W) to (B, C, [1,] 1, 1)."""
        return x.mean(self.axes, keepdim=True)


def adapt(model: nn.Module) -> None:
    """Replace modules in place that would be traced for one input size.

    Outputs stay the same up to rounding. Use it on a copy of a model in evaluation mode.
    """
    for parent in list(model.modules()):
        for name, module in parent.named_children():
            replacement = _replacement(module)
            if replacement is not None:
                setattr(parent, name, replacement)


def _replacement(module: Any) -> nn.Module | None:
    if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveAvgPool3d):
        dims = 2 if isinstance(module, nn.AdaptiveAvgPool2d) else 3
        size: Any = module.output_size
        whole: Any = (size,) * dims if isinstance(size, int) else tuple(size)
        if whole == (1,) * dims:
            return MeanPool(dims)
        return AdaptivePool(whole) if dims == 2 and None not in whole else None
    if _is_mmseg_upsample(module) and not module.size:
        return nn.Upsample(
            scale_factor=module.scale_factor, mode=module.mode, align_corners=module.align_corners
        )
    return None


def _is_mmseg_upsample(module: nn.Module) -> bool:
    """Whether a module computes sizes as Python integers; mmseg may not be installed."""
    kind = type(module)
    return kind.__name__ == "Upsample" and kind.__module__.startswith("mmseg.")


def _averages(cells: int, length: int, like: Tensor) -> Tensor:
    """A matrix (cells, length) whose rows average the pixels that overlap with a cell."""
    cell = torch.arange(cells, device=like.device)[:, None]
    pixel = torch.arange(length, device=like.device)
    first, end = cell * length // cells, ((cell + 1) * length + cells - 1) // cells
    inside = ((pixel >= first) & (pixel < end)).to(like.dtype)
    return inside / (end - first)
