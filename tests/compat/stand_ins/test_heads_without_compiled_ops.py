"""Stock heads that call mmcv's ops train and predict on the stand-in, with UniFormer by a swap."""

import importlib
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from torch import nn

import uniformer_mm  # noqa: F401 - supplies mmcv._ext
from uniformer_mm import compat
from uniformer_mm.compat import mmcv_ext_missing
from uniformer_mm.compat.stand_ins import mmcv_ext as stand_in

pytestmark = pytest.mark.stack

if not compat.is_active(mmcv_ext_missing):
    pytest.skip("mmcv is missing or has compiled ops", allow_module_level=True)

CHANNELS = (16, 32, 64, 64)
ARCH = {"depths": (1, 1, 1, 1), "embed_dims": CHANNELS, "head_dim": 32}
HEIGHT, WIDTH = 64, 64

# Suffix of a setting of stock heads, its value, and ours.
NARROW = (
    ("channels", 256, 64),
    ("fc_out_channels", 1024, 64),
    ("max_per_img", 1000, 50),
    ("num_layers", 6, 1),
    ("num_blocks", 6, 1),
    ("num_queries", 300, 20),
    ("num_queries", 900, 20),
)

DCN = {"deform_conv_forward", "deform_conv_backward_input"}
DCN_WEIGHTS = {"deform_conv_backward_parameters"}
MODULATED_DCN = {"modulated_deform_conv_forward", "modulated_deform_conv_backward"}
ROI_ALIGN = {"nms", "roi_align_forward", "roi_align_backward"}


class Head(NamedTuple):
    """A stock config and the ops that it calls; on a GPU also those of focal loss and DETR."""

    config: str
    ops: set[str]


HEADS = {
    "TOOD": Head("tood/tood_r50_fpn_1x_coco.py", {"nms", *DCN}),
    "VFNet": Head("vfnet/vfnet_r50_fpn_1x_coco.py", {"nms", *DCN, *DCN_WEIGHTS}),
    "RepPoints": Head("reppoints/reppoints-moment_r50_fpn_1x_coco.py", {"nms", *DCN, *DCN_WEIGHTS}),
    "DyHead": Head("dyhead/atss_r50_fpn_dyhead_1x_coco.py", {"nms", *MODULATED_DCN}),
    "Cascade RPN": Head(
        "cascade_rpn/cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco.py",
        {*ROI_ALIGN, *DCN, *DCN_WEIGHTS},
    ),
    "GA-RPN": Head(
        "guided_anchoring/ga-faster-rcnn_r50_fpn_1x_coco.py",
        {*ROI_ALIGN, *DCN, *DCN_WEIGHTS, "masked_im2col_forward", "masked_col2im_forward"},
    ),
    "CARAFE": Head(
        "carafe/mask-rcnn_r50_fpn-carafe_1x_coco.py",
        {*ROI_ALIGN, "carafe_forward", "carafe_backward"},
    ),
    "deformable RoI pooling": Head(
        "dcn/faster-rcnn_r50_fpn_dpool_1x_coco.py",
        {"nms", "deform_roi_pool_forward", "deform_roi_pool_backward"},
    ),
    "soft-NMS": Head(
        "faster_rcnn/faster-rcnn_r50_fpn_soft-nms_1x_coco.py", {*ROI_ALIGN, "softnms"}
    ),
    "Deformable DETR": Head("deformable_detr/deformable-detr_r50_16xb2-50e_coco.py", set()),
    "DINO": Head("dino/dino-4scale_r50_8xb2-12e_coco.py", set()),
}


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the ops that have been called."""
    ext = importlib.import_module("mmcv._ext")
    names = set()

    def note(name: str, op: Any) -> Any:
        return lambda *args, **kwargs: (names.add(name), op(*args, **kwargs))[1]

    for name in stand_in.OPS:
        monkeypatch.setattr(ext, name, note(name, getattr(ext, name)))
    return names


def narrow(value: Any, key: str = "") -> Any:
    """A config with the widths and depths of `NARROW`."""
    if isinstance(value, dict):
        return {k: narrow(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [narrow(v, key) for v in value]
    return next((own for end, stock, own in NARROW if key.endswith(end) and value == stock), value)


def stock_model(codebase: str, config: str) -> ConfigDict:
    """The model of a stock config, narrow, with UniFormer in place of its backbone."""
    folder = Path(importlib.import_module(codebase).__file__).parent / ".mim" / "configs"
    stock = Config.fromfile(folder / config).model.to_dict()
    out_indices = stock["backbone"]["out_indices"]
    stock["backbone"] = {"type": "mmengine.UniFormer", "out_indices": out_indices}
    model = ConfigDict(narrow(stock))
    model.backbone.arch = ARCH
    init_default_scope(codebase)
    return model


def train(model: nn.Module, data: dict[str, Any]) -> None:
    """One training iteration, after which every weight of the backbone's blocks has changed."""
    before = [parameter.detach().clone() for parameter in model.backbone.parameters()]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, weight_decay=0)
    losses = model.train().train_step(data, OptimWrapper(optimizer))
    assert all(torch.as_tensor(loss).isfinite().all() for loss in losses.values()), losses
    for (name, parameter), old in zip(model.backbone.named_parameters(), before, strict=True):
        assert parameter.isfinite().all(), name
        # Not every head reads every stage, whose norms then have no gradient.
        assert (parameter != old).any() or name.startswith("norm"), name


@pytest.mark.parametrize("name", HEADS)
def test_detector_trains_and_predicts(name: str, called: set[str]) -> None:
    mmdet_testing = pytest.importorskip("mmdet.testing")
    from mmdet.registry import MODELS

    model = stock_model("mmdet", HEADS[name].config)
    neck = model.neck[0] if isinstance(model.neck, list) else model.neck
    neck.in_channels = [CHANNELS[index] for index in model.backbone.out_indices]
    if "encoder" in model:
        neck.out_channels = 256  # DINO encodes coordinates in four times 128 numbers
    # The scores of untrained heads are low; nothing is left out, so that NMS has work.
    test_settings = model.test_cfg.get("rcnn", model.test_cfg)
    if "score_thr" in test_settings:
        test_settings.score_thr = 0.0
    torch.manual_seed(0)
    detector = MODELS.build(model)
    detector.init_weights()  # DETRs have parameters that building leaves as the memory was
    MessageHub.get_current_instance().update_info("epoch", 0)  # as the runner does, for TOOD
    images = mmdet_testing.demo_mm_inputs(
        2, [(3, HEIGHT, WIDTH)] * 2, num_items=[2, 3], num_classes=80, with_mask=name == "CARAFE"
    )
    train(detector, images)
    one_image = {part: values[:1] for part, values in images.items()}
    with torch.no_grad():
        found = detector.eval().test_step(one_image)[0].pred_instances
    assert len(found) > 0
    assert found.bboxes.isfinite().all()
    assert called == HEADS[name].ops


def test_psanet_trains_and_predicts(called: set[str]) -> None:
    pytest.importorskip("mmseg")
    from mmengine.structures import PixelData
    from mmseg.registry import MODELS
    from mmseg.structures import SegDataSample

    model = stock_model("mmseg", "psanet/psanet_r50-d8_4xb2-40k_cityscapes-512x1024.py")
    model.pretrained = None
    for head in (model.decode_head, model.auxiliary_head):
        head.update(in_channels=CHANNELS[head.in_index], channels=16, norm_cfg={"type": "BN"})
    model.data_preprocessor.size = (HEIGHT, WIDTH)
    torch.manual_seed(0)
    segmenter = MODELS.build(model)
    segmenter.init_weights()
    samples = [SegDataSample(metainfo={"img_shape": (HEIGHT, WIDTH), "ori_shape": (HEIGHT, WIDTH)})]
    samples[0].gt_sem_seg = PixelData(data=torch.randint(0, 19, (1, HEIGHT, WIDTH)))
    images = {"inputs": [torch.randint(0, 256, (3, HEIGHT, WIDTH)).byte()] * 2}
    train(segmenter, images | {"data_samples": samples * 2})
    with torch.no_grad():
        found = segmenter.eval().test_step(
            {"inputs": images["inputs"][:1], "data_samples": samples}
        )
    assert found[0].pred_sem_seg.data.shape == (1, HEIGHT, WIDTH)
    assert called == {"psamask_forward", "psamask_backward"}
