"""SSD cannot predict: its head has no `loss_cls`.

Defect: `BaseDenseHead` reads options of `self.loss_cls`, which `SSDHead` never sets.
Versions: mmdet 3.2 and 3.3.
Shows as: `AttributeError: 'SSDHead' object has no attribute 'loss_cls'` in validation.
Repair: `loss_cls` is None.
Upstream: https://github.com/open-mmlab/mmdetection/issues/11063,
    https://github.com/open-mmlab/mmdetection/pull/11524
"""

from types import ModuleType
from typing import Any

from uniformer_mm.compat.patching import wrap


def patch(module: ModuleType) -> None:
    """Let every SSDHead have a `loss_cls`."""
    wrap(module.SSDHead, "__init__", _init)


def _init(init: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    init(self, *args, **kwargs)
    if not hasattr(self, "loss_cls"):
        self.loss_cls = None


PATCHES = {"mmdet.models.dense_heads.ssd_head": patch}
