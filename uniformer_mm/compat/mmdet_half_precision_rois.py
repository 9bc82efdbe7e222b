"""mmdet rounds RoIs to half precision under mixed precision.

Defect: `SingleRoIExtractor` converts RoIs, in image pixels, to the type of the features. A bfloat16
    has 8 significant bits: coordinates between 512 and 1024 become multiples of 4 pixels. A float16
    rounds them to half pixels. mmdet 2 converted the features to float32 instead.
Versions: mmdet 3.x (seen with 3.3.0).
Shows as: lower accuracy of two-stage detectors in bfloat16, most of all for small objects; with
    compiled ops, `"roi_align_forward_cuda_kernel" not implemented for 'BFloat16'`.
Repair: features in bfloat16 are pooled in float32, and the result is converted back. Features in
    float16 are too, unless mmcv has compiled ops, which take them.
Upstream: https://github.com/open-mmlab/mmdetection/blob/v3.3.0/mmdet/models/roi_heads/roi_extractors/single_level_roi_extractor.py#L81
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from uniformer_mm.compat.patching import wrap
from uniformer_mm.compat.supplying import supplies


def patch(module: ModuleType) -> None:
    """Let SingleRoIExtractor pool features in half precision with RoIs in float32."""
    wrap(module.SingleRoIExtractor, "forward", _forward)


def _forward(forward: Any, self: Any, feats: Sequence[Tensor], *args: Any, **kwargs: Any) -> Tensor:
    dtype = feats[0].dtype
    if dtype == torch.bfloat16 or (dtype == torch.float16 and supplies("mmcv._ext")):
        return forward(self, [level.float() for level in feats], *args, **kwargs).to(dtype)
    return forward(self, feats, *args, **kwargs)


PATCHES = {"mmdet.models.roi_heads.roi_extractors.single_level_roi_extractor": patch}
