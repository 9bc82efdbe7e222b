"""mmaction2 averages views of classes that do not exclude each other by a softmax.

Defect: with `average_clips='prob'` scores are a softmax over the classes for every loss. Where that
    is binary cross-entropy (multi-label recognition) they add up to 1 all the same.
    https://github.com/open-mmlab/mmaction2/issues/1813
Versions: mmaction2 1.2.0.
Shows as: small scores in multi-label recognition, and with two labels none above 0.5.
Repair: with such a loss, the average of sigmoids.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from uniformer_mm.compat.after_import import repair_after_import

BINARY_LOSSES = ("BCELossWithLogits", "CBFocalLoss", "HVULoss")
"""mmaction2's losses that judge each class independently."""


def apply() -> None:
    """Repair the heads as soon as they are imported."""
    repair_after_import("mmaction.models.heads.base", repair)


def is_active() -> bool:
    """Whether mmaction is installed: every version that we take has the defect."""
    return find_spec("mmaction") is not None


def has_independent_classes(head: Any) -> bool:
    """Whether a head is trained to judge each class independently of the others."""
    kinds = type(getattr(head, "loss_cls", None)).__mro__
    return any(kind.__name__ in BINARY_LOSSES for kind in kinds)


def repair(module: ModuleType) -> None:
    """Let BaseHead average sigmoids where its loss has them."""
    head_type = module.BaseHead
    average_clip = head_type.average_clip
    if hasattr(average_clip, "__wrapped__"):
        return

    @functools.wraps(average_clip)
    def average_views(self: Any, cls_scores: Any, num_segs: int = 1) -> Any:
        if self.average_clips == "prob" and has_independent_classes(self):
            return cls_scores.sigmoid().unflatten(0, (-1, num_segs)).mean(1)
        return average_clip(self, cls_scores, num_segs)

    head_type.average_clip = average_views
