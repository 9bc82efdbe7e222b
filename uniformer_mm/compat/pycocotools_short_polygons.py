"""pycocotools mistakes a polygon with four coordinates for a box.

Defect: `frPyObjects` looks at the first polygon of a mask: with four coordinates, all are read as
    boxes; with fewer, they are refused. Annotation tools leave such polygons. They have no area,
    and mmdet skips them in training.
Versions: pycocotools 2.0.11.
Shows as: `TypeError: Argument 'bb' has incorrect type` while masks are evaluated.
Repair: evaluation skips polygons with fewer than three points as well.
Upstream: https://github.com/cocodataset/cocoapi/issues/139
"""

from types import ModuleType
from typing import Any

from uniformer_mm.compat.patching import wrap

NO_AREA = [[0.0] * 6]
"""A polygon for masks without any other."""


def patch(module: ModuleType) -> None:
    """Let `COCO` encode masks without short polygons."""
    wrap(module.COCO, "annToRLE", _ann_to_rle)


def _ann_to_rle(encode: Any, self: Any, ann: dict[str, Any]) -> Any:
    mask = ann["segmentation"]
    if isinstance(mask, list):
        ann = {**ann, "segmentation": [part for part in mask if len(part) >= 6] or NO_AREA}
    return encode(self, ann)


PATCHES = {"pycocotools.coco": patch}
