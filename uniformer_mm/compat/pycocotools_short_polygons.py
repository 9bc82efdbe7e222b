"""pycocotools takes a polygon of four numbers for a box, and fails on it.

Defect: `frPyObjects` looks at the first polygon of a mask; where it has four numbers all are taken
    for boxes, where it has fewer it is refused. Such remains of annotation tools have no area, and
    mmdet leaves them out in training.
Versions: pycocotools 2.0.11.
Shows as: `TypeError: Argument 'bb' has incorrect type` while masks are evaluated.
Repair: polygons of less than three points are left out there as well.
Upstream: https://github.com/cocodataset/cocoapi/issues/139
"""

from types import ModuleType
from typing import Any

from uniformer_mm.compat.patching import wrap

NO_AREA = [[0.0] * 6]
"""A polygon for masks that have no other."""


def patch(module: ModuleType) -> None:
    """Let masks be encoded without short polygons."""
    wrap(module.COCO, "annToRLE", _ann_to_rle)


def _ann_to_rle(encode: Any, self: Any, ann: dict[str, Any]) -> Any:
    mask = ann["segmentation"]
    if isinstance(mask, list):
        ann = {**ann, "segmentation": [part for part in mask if len(part) >= 6] or NO_AREA}
    return encode(self, ann)


PATCHES = {"pycocotools.coco": patch}
