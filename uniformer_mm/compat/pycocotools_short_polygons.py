"""pycocotools takes a polygon of four numbers for a box, and fails on it.

Defect: `frPyObjects` looks at the first polygon of a mask; where it has four numbers all are taken
    for boxes, where it has fewer it is refused. Such remains of annotation tools have no area, and
    mmdet leaves them out in training.
Versions: pycocotools 2.0.11.
Shows as: `TypeError: Argument 'bb' has incorrect type` while masks are evaluated.
Repair: polygons of less than three points are left out there as well.
Upstream: https://github.com/cocodataset/cocoapi/issues/139
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from uniformer_mm.compat.after_import import repair_after_import

NO_AREA = [[0.0] * 6]
"""A polygon for masks that have no other."""


def apply() -> None:
    """Repair the class as soon as it is imported."""
    repair_after_import("pycocotools.coco", repair)


def is_active() -> bool:
    """Whether pycocotools is installed: every version that we know has the defect."""
    return find_spec("pycocotools") is not None


def repair(module: ModuleType) -> None:
    """Let masks be encoded without short polygons."""
    encode = module.COCO.annToRLE
    if hasattr(encode, "__wrapped__"):
        return

    @functools.wraps(encode)
    def encode_sound(self: Any, ann: dict[str, Any]) -> Any:
        mask = ann["segmentation"]
        if isinstance(mask, list):
            ann = {**ann, "segmentation": [part for part in mask if len(part) >= 6] or NO_AREA}
        return encode(self, ann)

    module.COCO.annToRLE = encode_sound
