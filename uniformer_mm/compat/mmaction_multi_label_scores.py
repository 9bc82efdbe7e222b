"""mmaction2 averages multi-label scores over views after a softmax.

Defect: with `average_clips='prob'` scores are a softmax over the classes for every loss. With
    binary cross-entropy (multi-label recognition), they add up to 1 as well.
    https://github.com/open-mmlab/mmaction2/issues/1813
Versions: mmaction2 1.2.0.
Shows as: low scores in multi-label recognition, with two labels never above 0.5.
Repair: with such a loss, the average of sigmoids.
"""

from types import ModuleType
from typing import Any

from uniformer_mm.compat.patching import wrap

BINARY_LOSSES = ("BCELossWithLogits", "CBFocalLoss", "HVULoss")
"""Losses of mmaction2 that score each class independently."""


def has_independent_classes(head: Any) -> bool:
    """Whether a head is trained to score each class independently of the others."""
    types = type(getattr(head, "loss_cls", None)).__mro__
    return any(each.__name__ in BINARY_LOSSES for each in types)


def patch(module: ModuleType) -> None:
    """Let BaseHead average sigmoids where its loss uses them."""
    wrap(module.BaseHead, "average_clip", _average_clip)


def _average_clip(average: Any, self: Any, cls_scores: Any, num_segs: int = 1) -> Any:
    if self.average_clips == "prob" and has_independent_classes(self):
        return cls_scores.sigmoid().unflatten(0, (-1, num_segs)).mean(1)
    return average(self, cls_scores, num_segs)


PATCHES = {"mmaction.models.heads.base": patch}
