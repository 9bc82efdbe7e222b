"""Masks of boxes outside of the image cannot be pasted on a CPU.

Defect: on CPUs, `_do_paste_mask` pastes into the part of the image that a box covers, whose end is
    before its start if the box is outside. QueryInst and other detectors that do not clip their
    boxes predict such boxes, mostly early in training.
Versions: mmdet 3.x (seen with 3.3.0).
Shows as: `RuntimeError: upper bound and lower bound inconsistent with step sign` in validation.
Repair: such a mask is pasted into the whole image, as on GPUs: it is empty.
Upstream: https://github.com/hustvl/QueryInst/issues/41
"""

from types import ModuleType
from typing import Any

from torch import Tensor

from uniformer_mm.compat.patching import wrap


def patch(module: ModuleType) -> None:
    """Let `_do_paste_mask` take boxes outside of the image."""
    wrap(module, "_do_paste_mask", _paste)


def _paste(
    paste: Any, masks: Tensor, boxes: Tensor, img_h: int, img_w: int, skip_empty: bool = True
) -> Any:
    if skip_empty:
        (left, top), (right, bottom) = boxes.amin(0)[:2].tolist(), boxes.amax(0)[2:].tolist()
        # One pixel around the boxes is pasted as well.
        skip_empty = left < img_w and top < img_h and right > 0 and bottom > 0
    return paste(masks, boxes, img_h, img_w, skip_empty)


PATCHES = {"mmdet.models.roi_heads.mask_heads.fcn_mask_head": patch}
