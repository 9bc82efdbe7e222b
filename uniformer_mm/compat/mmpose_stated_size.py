"""mmpose drops the image size in an annotation file.

Defect: samples from detected boxes have it (`img_shape`), samples from annotations do not. Whether
    an image still has the size for which it was annotated cannot be checked later.
Versions: mmpose 1.3.2.
Shows as: silent training on images that were resized, or rotated by their EXIF orientation.
Repair: samples from annotations have `img_shape` too; loading the image overwrites it.
Upstream: https://github.com/open-mmlab/mmpose/blob/v1.3.2/mmpose/datasets/datasets/base/base_coco_style_dataset.py
"""

from types import ModuleType
from typing import Any

from uniformer_mm.compat.patching import wrap


def patch(module: ModuleType) -> None:
    """Let the dataset keep the image size."""
    wrap(module.BaseCocoStyleDataset, "parse_data_info", _parse_data_info)


def _parse_data_info(parse: Any, self: Any, raw_data_info: dict[str, Any]) -> dict | None:
    data_info = parse(self, raw_data_info)
    if data_info is not None:
        image = raw_data_info["raw_img_info"]
        data_info["img_shape"] = (image["height"], image["width"])
    return data_info


PATCHES = {"mmpose.datasets.datasets.base.base_coco_style_dataset": patch}
