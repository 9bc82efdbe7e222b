"""1x1 convolutions as matrix products on GPUs."""

import torch.nn.functional as F
from torch import Tensor, nn

from uniformer_mm.models.layers.devices import runs_on_gpu


class _Pointwise(nn.Module):
    weight: Tensor
    bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to (B, C', ...)."""
        if not runs_on_gpu(x):
            output: Tensor = super().forward(x)
            return output
        # 2 to 3.5 times as fast as cuDNN's convolution on an H200.
        return F.linear(x.movedim(1, -1), self.weight.flatten(1), self.bias).movedim(-1, 1)


class Pointwise2d(_Pointwise, nn.Conv2d):
    """1x1 convolution of images."""


class Pointwise3d(_Pointwise, nn.Conv3d):
    """1x1x1 convolution of videos."""


POINTWISE: dict[int, type[nn.Module]] = {2: Pointwise2d, 3: Pointwise3d}
"""By the number of axes of an image or video."""
