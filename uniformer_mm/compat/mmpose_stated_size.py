"""mmpose forgets the size that an annotation file states for an image.

Defect: samples made from the boxes of a detector know it (`img_shape`), those made from annotations
    do not. Whether an image has the size for which it was annotated cannot be seen later.
Versions: mmpose 1.3.2.
Shows as: training in silence on images that were resized, or turned by their EXIF orientation.
Repair: samples made from annotations have `img_shape` too; loading the image overwrites it.
Upstream: https://github.com/open-mmlab/mmpose/blob/v1.3.2/mmpose/datasets/datasets/base/base_coco_style_dataset.py
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from uniformer_mm.compat.after_import import repair_after_import


def apply() -> None:
    """Repair the dataset as soon as it is imported."""
    repair_after_import("mmpose.datasets.datasets.base.base_coco_style_dataset", repair)


def is_active() -> bool:
    """Whether mmpose is installed: every version that we take has the defect."""
    return find_spec("mmpose") is not None


def repair(module: ModuleType) -> None:
    """Let the dataset keep the size."""
    dataset = module.BaseCocoStyleDataset
    parse = dataset.parse_data_info
    if hasattr(parse, "__wrapped__"):
        return

    @functools.wraps(parse)
    def parse_with_size(self: Any, raw_data_info: dict[str, Any]) -> dict[str, Any] | None:
        data_info = parse(self, raw_data_info)
        if data_info is not None:
            image = raw_data_info["raw_img_info"]
            data_info["img_shape"] = (image["height"], image["width"])
        return data_info

    dataset.parse_data_info = parse_with_size
