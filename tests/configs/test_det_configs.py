"""Detection configs hold the values of the published experiments (object_detection/exp/*)."""

from pathlib import Path

import pytest
import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

import uniformer_mm
from uniformer_mm.tasks import task_of

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "det"

# name: (published parameters in millions, drop path rate, checkpointed blocks, 3x schedule)
PUBLISHED = {
    # without published result
    "faster_rcnn_uniformer_s": (39, 0.2, (0, 0, 8, 0), False),
    "mask_rcnn_uniformer_xxs": (29, None, None, False),
    "mask_rcnn_uniformer_xs": (36, 0.15, None, False),
    "mask_rcnn_uniformer_s": (41, 0.2, (0, 0, 8, 0), False),
    "mask_rcnn_uniformer_b": (69, 0.3, None, False),
    "mask_rcnn_uniformer_s_3x_ms": (41, 0.1, (0, 0, 8, 0), True),
    "mask_rcnn_uniformer_b_3x_ms": (69, 0.3, (0, 0, 20, 0), True),
    "cascade_mask_rcnn_uniformer_s_3x_ms": (79, 0.2, (0, 0, 8, 0), True),
    "cascade_mask_rcnn_uniformer_b_3x_ms": (107, 0.4, (0, 0, 20, 0), True),
}


@pytest.fixture(params=PUBLISHED)
def case(request):
    init_default_scope("mmdet")
    return Config.fromfile(FOLDER / f"{request.param}.py"), PUBLISHED[request.param]


def test_every_config_is_in_the_table():
    assert {path.stem for path in FOLDER.glob("*.py")} == set(PUBLISHED)


def test_builds_with_the_published_parameter_count(case):
    cfg, (millions, *_) = case
    model = MODELS.build(cfg.model)
    light = cfg.filename.endswith(("xxs.py", "xs.py"))
    expected = uniformer_mm.UniFormerLight if light else uniformer_mm.UniFormer
    assert type(model.backbone) is expected
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) == millions


def test_backbone(case):
    cfg, (_, drop_path_rate, with_cp, _) = case
    backbone = cfg.model.backbone
    assert backbone.get("drop_path_rate") == drop_path_rate
    assert backbone.get("with_cp") == with_cp
    assert "norm_eval" not in backbone
    if backbone.arch in ("xxs", "xs"):
        assert backbone.init_cfg.checkpoint == f"weights/uniformer_{backbone.arch}_224_in1k.pth"
        return
    size = "base" if "uniformer_base" in backbone.init_cfg.checkpoint else "small"
    assert backbone.arch == size
    assert (backbone.attention, backbone.window_size) == ("hybrid", 14)


def test_optimizer_and_decay(case):
    cfg, _ = case
    wrapper = cfg.optim_wrapper
    light = cfg.model.backbone.type == "mmengine.UniFormerLight"
    assert wrapper.type == ("OptimWrapper" if light else "AmpOptimWrapper")
    assert wrapper.get("loss_scale") == (None if light else "dynamic")
    assert "clip_grad" not in wrapper
    model = MODELS.build(cfg.model)
    cfg.optim_wrapper.type = "OptimWrapper"  # the AMP wrapper refuses to be built without a GPU
    cfg.optim_wrapper.pop("loss_scale", None)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    assert isinstance(optimizer, torch.optim.AdamW)
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert {(g["lr"], g["betas"]) for g in optimizer.param_groups} == {(1e-4, (0.9, 0.999))}
    for name, parameter in model.named_parameters():
        assert decay[id(parameter)] == (0.0 if "norm" in name else 0.05), name
    assert decay[id(model.backbone.blocks3[0].pos_embed.weight)] == 0.05
    assert decay[id(model.backbone.blocks1[0].norm1.weight)] == 0.0


def test_learning_rate_follows_mmcv_1(case):
    """500 warm-up iterations from 0.001 of the rate; iteration 500 is the first at all of it."""
    cfg, (*_, long) = case
    warmup, steps = cfg.param_scheduler
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    from mmengine.optim import LinearLR

    scheduler = LinearLR(optimizer, **{k: v for k, v in warmup.items() if k != "type"})
    rates = []
    for _ in range(502):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    expected = [1 - (1 - i / 500) * (1 - 0.001) for i in range(500)] + [1.0, 1.0]
    assert rates == pytest.approx(expected, abs=1e-9)
    assert steps.milestones == ([27, 33] if long else [8, 11])
    assert (steps.gamma, steps.end, cfg.train_cfg.max_epochs) == (0.1,) + (36 if long else 12,) * 2


def test_batch_and_data(case):
    cfg, (*_, long) = case
    assert cfg.train_dataloader.batch_size == 2
    assert cfg.auto_scale_lr.base_batch_size == 16
    assert cfg.train_dataloader.num_workers == 2
    processor = cfg.model.data_preprocessor
    assert (processor.mean, processor.std) == ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    assert processor.bgr_to_rgb
    assert processor.pad_size_divisor == 32
    assert cfg.test_pipeline[1].scale == (1333, 800)
    boxes_only = cfg.model.type == "FasterRCNN"
    metrics = ["bbox"] if boxes_only else ["bbox", "segm"]
    assert cfg.val_evaluator.metric == metrics
    assert cfg.test_evaluator.metric == cfg.val_evaluator.metric
    pipeline = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert pipeline["RandomFlip"].prob == 0.5
    if not long:
        assert pipeline["Resize"].scale == (1333, 800)
        return
    first, second = pipeline["RandomChoice"].transforms
    sizes = [(short, 1333) for short in range(480, 801, 32)]
    assert first[0].scales == second[2].scales == sizes
    assert second[0].scales == [(400, 1333), (500, 1333), (600, 1333)]
    assert (second[1].crop_type, second[1].crop_size) == ("absolute_range", (384, 600))
    assert second[1].allow_negative_crop


def test_heads(case):
    cfg, _ = case
    model = cfg.model
    if model.type in ("MaskRCNN", "FasterRCNN"):
        assert model.roi_head.bbox_head.type == "Shared2FCBBoxHead"
        assert model.rpn_head.loss_bbox.type == "L1Loss"
        assert model.train_cfg.rpn_proposal.max_per_img == 1000
        return
    assert model.rpn_head.loss_bbox.type == "SmoothL1Loss"
    assert model.rpn_head.loss_bbox.beta == pytest.approx(1 / 9)
    assert model.train_cfg.rpn_proposal.max_per_img == 2000
    assert model.roi_head.stage_loss_weights == [1, 0.5, 0.25]
    scales = [1.0, 0.5, 0.33]
    for head, scale in zip(model.roi_head.bbox_head, scales, strict=True):
        assert (head.type, head.num_shared_convs, head.num_shared_fcs) == ("ConvFCBBoxHead", 4, 1)
        assert head.norm_cfg.type == "SyncBN"
        assert head.reg_decoded_bbox
        assert not head.reg_class_agnostic
        assert (head.loss_bbox.type, head.loss_bbox.loss_weight) == ("GIoULoss", 10.0)
        stds = [0.1 * scale, 0.1 * scale, 0.2 * scale, 0.2 * scale]
        assert head.bbox_coder.target_stds == pytest.approx(stds, abs=2e-3)


@pytest.mark.parametrize("attention", ["global", "window", "hybrid"])
def test_attention_is_one_line(attention):
    cfg = Config.fromfile(FOLDER / "mask_rcnn_uniformer_s.py")
    cfg.merge_from_dict({"model.backbone.attention": attention})
    sizes = [b.window_size for b in MODELS.build(cfg.model).backbone.blocks3]
    assert (0 in sizes, 14 in sizes) == (attention != "window", attention != "global")


def test_training_pipeline_runs(case, synthetic_folder, monkeypatch):
    """Every transform exists and takes what the config gives it."""
    monkeypatch.chdir(synthetic_folder)
    cfg, _ = case
    task_of(cfg).use_synthetic_data(cfg, 8, Path("data", "synthetic"))
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    for index in range(len(dataset)):
        assert dataset[index]["inputs"].shape[0] == 3
