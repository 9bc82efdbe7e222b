"""SSD predicts."""

import pytest
import torch

pytest.importorskip("mmdet")

from mmdet.models.dense_heads import SSDHead
from mmengine.config import ConfigDict

from uniformer_mm.compat import repair_stack

pytestmark = pytest.mark.stack


def test_ssd_predicts():
    repair_stack()
    channels, sizes = (8, 8, 8, 8, 8, 8), (38, 19, 10, 5, 3, 1)
    anchors = {
        "type": "SSDAnchorGenerator",
        "scale_major": False,
        "input_size": 300,
        "basesize_ratio_range": (0.15, 0.9),
        "strides": [8, 16, 32, 64, 100, 300],
        "ratios": [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
    }
    nms = {"type": "nms", "iou_threshold": 0.45}
    test_cfg = ConfigDict(nms_pre=50, nms=nms, score_thr=0, min_bbox_size=0, max_per_img=7)
    head = SSDHead(4, channels, anchor_generator=anchors, test_cfg=test_cfg)
    features = [torch.randn(1, c, size, size) for c, size in zip(channels, sizes, strict=True)]
    image = {"img_shape": (300, 300), "scale_factor": (1, 1)}
    [found] = head.predict_by_feat(*head(features), batch_img_metas=[image])
    assert len(found) == 7
