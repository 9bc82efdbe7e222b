"""RTMDet-Ins enlarges its masks by the scale of the width in height, and the other way round.

Defect: the scale factor is (width, height), the size that masks are interpolated to (height,
    width). The two scales differ even where the aspect ratio is kept, because sizes are rounded.
Versions: mmdet 3.0 to 3.3.
Shows as: masks of another size than the image, which COCO's metric takes for wrong ones and drawing
    refuses.
Repair: masks are transposed while they are enlarged.
Upstream: https://github.com/open-mmlab/mmdetection/issues/11230
"""

import inspect
from types import ModuleType
from typing import Any

from uniformer_mm.compat.patching import wrap


def patch(module: ModuleType) -> None:
    """Enlarge masks by the scales of their own sides, unless mmdet does."""
    head = module.RTMDetInsHead
    if "shape[-2] * scale_factor[0]" in inspect.getsource(head._bbox_mask_post_process):
        wrap(head, "_bbox_mask_post_process", _post_process)


def _post_process(process: Any, self: Any, results: Any, *args: Any, **kw: Any) -> Any:
    if not kw.get("rescale"):
        return process(self, results, *args, **kw)
    predict = self._mask_predict_by_feat_single
    height, width = kw["img_meta"]["ori_shape"][:2]
    kw["img_meta"] = {**kw["img_meta"], "ori_shape": (width, height)}
    self._mask_predict_by_feat_single = lambda *inputs: predict(*inputs).mT
    try:
        results = process(self, results, *args, **kw)
    finally:
        del self._mask_predict_by_feat_single
    results.masks = results.masks.mT
    return results


PATCHES = {"mmdet.models.dense_heads.rtmdet_ins_head": patch}
