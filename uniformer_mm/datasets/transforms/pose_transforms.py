"""Augmentations of person boxes as in mmpose 0.16, which trained the published pose models.

`GetBBoxCenterScale` of mmpose comes before them. They are in mmengine's root registry:
``type='mmengine.BoxCentreJitter'``.
"""

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dist import get_rank
from mmengine.registry import TRANSFORMS


@TRANSFORMS.register_module()
class BoxCentreJitter(BaseTransform):
    """Move the boxes of some persons, each by a constant offset of its own.

    mmpose 0.16 sampled the offsets once per process, when it loaded the annotations. Therefore they
    only depend on the id of the annotation and the rank of the process.

    Args:
        prob: Share of the persons whose box is moved.
        factor: Largest offset, as a share of the box's width and height.
    """

    def __init__(self, prob: float = 0.3, factor: float = 0.2) -> None:
        self.prob = prob
        self.factor = factor

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change `bbox_center` (1, 2) of the person with `bbox` (1, 4) and `id`."""
        rng = np.random.default_rng((get_rank(), results["id"]))
        if rng.random() < self.prob:
            box = results["bbox"]
            offset = rng.uniform(-self.factor, self.factor, 2) * (box[:, 2:4] - box[:, :2])
            results["bbox_center"] = results["bbox_center"] + offset.astype(np.float32)
        return results


@TRANSFORMS.register_module()
class RandomBoxScaleRotation(BaseTransform):
    """Scale and rotate the box of a person at random, with clipped normal distributions.

    mmpose's `RandomBBoxTransform` truncates them instead. Here almost a third of all scales are the
    smallest or the largest.

    Args:
        scale_factor: Standard deviation of the scale around 1, and its largest difference to 1.
        rotate_factor: Standard deviation of the angle in degrees; the limit is twice as much.
        rotate_prob: Probability of a rotation.
    """

    def __init__(
        self, scale_factor: float = 0.5, rotate_factor: float = 40.0, rotate_prob: float = 0.6
    ) -> None:
        self.scale_factor = scale_factor
        self.rotate_factor = rotate_factor
        self.rotate_prob = rotate_prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change `bbox_scale` (1, 2) and set `bbox_rotation` (1,)."""
        scale, angle = np.random.standard_normal(2).astype(np.float32)
        scale = np.clip(1 + self.scale_factor * scale, 1 - self.scale_factor, 1 + self.scale_factor)
        limit = 2 * self.rotate_factor
        angle = np.clip(self.rotate_factor * angle, -limit, limit)
        if np.random.random() >= self.rotate_prob:
            angle = np.float32(0)
        results["bbox_scale"] = results["bbox_scale"] * scale
        results["bbox_rotation"] = np.array([angle], dtype=np.float32)
        return results
