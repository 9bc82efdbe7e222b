"""Masks of RTMDet-Ins have the size of the image, and are where its objects are."""

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

pytestmark = pytest.mark.stack

pytest.importorskip("mmdet")


@pytest.fixture(scope="module")
def head():
    from mmdet.models.dense_heads import RTMDetInsHead

    points = {"type": "MlvlPointGenerator", "offset": 0, "strides": [8, 16, 32]}
    head = RTMDetInsHead(num_classes=2, in_channels=32, feat_channels=32, anchor_generator=points)
    return head.eval()


@pytest.mark.parametrize("shape", [(373, 384), (384, 300), (384, 260), (96, 96)])
@pytest.mark.parametrize("found", [True, False])
def test_masks_have_the_size_of_the_image(head, shape, found, monkeypatch):
    side = 96
    scales = np.round(np.array(shape) * side / max(shape)) / shape  # height, width
    # A block at rows 2 to 3 and columns 4 to 6 of twelve cells of eight pixels.
    logits = torch.full((1, 12, 12), -9.0)
    logits[0, 2:4, 4:7] = 9.0
    monkeypatch.setattr(
        type(head), "_mask_predict_by_feat_single", lambda self, feats, kernels, priors: logits
    )
    count = int(found)
    boxes = torch.tensor([[32.0, 16.0, 56.0, 32.0]])[:count]
    results = InstanceData(
        bboxes=boxes.clone(),
        scores=torch.ones(count),
        labels=torch.zeros(count, dtype=torch.long),
        priors=torch.full((count, 4), 8.0),
        kernels=torch.zeros(count, 1),
    )
    cfg = ConfigDict(nms={"type": "nms", "iou_threshold": 0.6}, max_per_img=5, mask_thr_binary=0.5)
    meta = {"ori_shape": shape, "img_shape": (side, side), "scale_factor": scales[::-1]}
    masks = head._bbox_mask_post_process(
        results=results,
        mask_feat=torch.zeros(32, 12, 12),
        cfg=cfg,
        rescale=True,
        with_nms=True,
        img_meta=meta,
    ).masks
    assert masks.shape == (count, *shape)
    if found:
        rows, columns = np.nonzero(masks[0].numpy())
        limits = ([rows.min(), rows.max() + 1], [columns.min(), columns.max() + 1])
        np.testing.assert_allclose(limits[0], np.array([16, 32]) / scales[0], atol=8)
        np.testing.assert_allclose(limits[1], np.array([32, 56]) / scales[1], atol=8)
    assert "_mask_predict_by_feat_single" not in vars(head)
