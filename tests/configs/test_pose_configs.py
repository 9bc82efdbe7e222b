"""Pose configs hold the values of the published experiments (pose_estimation/exp/*)."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import LinearLR, build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpose.datasets import CocoDataset
from mmpose.registry import METRICS, MODELS, TRANSFORMS
from torch import nn

import uniformer_mm

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "pose"
SMALL, BASE = (3, 4, 8, 3), (5, 8, 20, 7)

# name: (depths, drop path rate, input (w, h), sigma, lr, batch per GPU, checkpoint interval)
PUBLISHED = {
    "td_hm_uniformer_s_256x192": (SMALL, 0.2, (192, 256), 2, 2e-3, 128, 5),
    "td_hm_uniformer_s_384x288": (SMALL, 0.2, (288, 384), 3, 2e-3, 128, 5),
    "td_hm_uniformer_s_448x320": (SMALL, 0.2, (320, 448), 3, 1e-3, 64, 5),
    "td_hm_uniformer_b_256x192": (BASE, 0.4, (192, 256), 2, 2e-3, 128, 5),
    "td_hm_uniformer_b_384x288": (BASE, 0.5, (288, 384), 3, 5e-4, 32, 5),
    "td_hm_uniformer_b_448x320": (BASE, 0.55, (320, 448), 3, 5e-4, 32, 10),
}
PARAMETERS = {SMALL: 25_232_465, BASE: 53_463_761}
GPUS = 8


@pytest.fixture(params=PUBLISHED)
def case(request):
    init_default_scope("mmpose")
    return Config.fromfile(FOLDER / f"{request.param}.py"), PUBLISHED[request.param]


def steps(cfg, split):
    return {step.type: step for step in cfg[f"{split}_dataloader"].dataset.pipeline}


def test_every_config_is_in_the_table():
    assert {path.stem for path in FOLDER.glob("*.py")} == set(PUBLISHED)


def test_model(case):
    cfg, (depths, drop_path_rate, *_) = case
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    backbone = model.backbone
    assert type(backbone) is uniformer_mm.UniFormer
    assert tuple(len(getattr(backbone, f"blocks{i}")) for i in (1, 2, 3, 4)) == depths
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[depths]
    size = "small" if depths == SMALL else "base"
    assert cfg.model.backbone.init_cfg.checkpoint.endswith(f"uniformer_{size}_in1k.pth")
    assert cfg.model.backbone.drop_path_rate == drop_path_rate
    assert {block.window_size for block in backbone.blocks3} == {0}
    assert not any(hasattr(backbone, name) for name in ("norm1", "norm2", "norm3"))
    assert "norm_eval" not in cfg.model.backbone
    assert "with_cp" not in cfg.model.backbone
    norms = [layer for layer in backbone.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert {type(norm) for norm in norms} == {nn.BatchNorm2d}
    assert all(isinstance(model.head.deconv_layers[i], nn.SyncBatchNorm) for i in (1, 4, 7))
    shapes = [tuple(model.head.deconv_layers[i].weight.shape) for i in (0, 3, 6)]
    assert shapes == [(512, 256, 4, 4), (256, 256, 4, 4), (256, 256, 4, 4)]
    assert tuple(model.head.final_layer.weight.shape) == (17, 256, 1, 1)


def test_every_parameter_gets_a_gradient():
    """So that distributed training need not search for unused ones."""
    init_default_scope("mmpose")
    cfg = Config.fromfile(FOLDER / "td_hm_uniformer_s_256x192.py")
    cfg.model.backbone.arch = {"depths": (1, 1, 1, 1)}
    model = MODELS.build(cfg.model)
    model(torch.randn(2, 3, 64, 64), None, mode="tensor").square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_sizes_and_codec(case):
    cfg, (_, _, size, sigma, *_) = case
    heatmap = (size[0] // 4, size[1] // 4)
    for codec in (cfg.codec, cfg.model.head.decoder, steps(cfg, "train")["GenerateTarget"].encoder):
        assert codec.type == "MSRAHeatmap"
        assert (codec.input_size, codec.heatmap_size, codec.sigma) == (size, heatmap, sigma)
        assert not codec.get("unbiased", False)
    for split in ("train", "val", "test"):
        assert steps(cfg, split)["TopdownAffine"].input_size == size
    loss = MODELS.build(cfg.model.head.loss)
    assert type(loss).__name__ == "KeypointMSELoss"
    assert loss.use_target_weight
    processor = cfg.model.data_preprocessor
    assert processor.mean == pytest.approx([255 * mean for mean in (0.485, 0.456, 0.406)])
    assert processor.std == pytest.approx([255 * std for std in (0.229, 0.224, 0.225)])
    assert processor.bgr_to_rgb


def test_optimizer_lets_everything_decay(case):
    cfg, (*_, learning_rate, _, _) = case
    wrapper = cfg.optim_wrapper
    assert (wrapper.type, wrapper.loss_scale) == ("AmpOptimWrapper", "dynamic")
    assert "clip_grad" not in wrapper
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    wrapper.type = "OptimWrapper"  # the AMP wrapper refuses to be built without a GPU
    wrapper.pop("loss_scale")
    optimizer = build_optim_wrapper(model, wrapper).optimizer
    assert type(optimizer) is torch.optim.AdamW
    groups = optimizer.param_groups
    settings = {(group["lr"], group["betas"], group["weight_decay"]) for group in groups}
    assert settings == {(learning_rate, (0.9, 0.999), 0.01)}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_schedule(case):
    cfg, (*_, interval) = case
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (210, 10)
    checkpoint = cfg.default_hooks.checkpoint
    assert (checkpoint.interval, checkpoint.save_best) == (interval, "coco/AP")
    warmup, main = cfg.param_scheduler
    assert (main.type, main.by_epoch, main.begin, main.end) == ("MultiStepLR", True, 0, 210)
    assert (main.milestones, main.gamma) == ([170, 200], 0.1)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = LinearLR(optimizer, **{k: v for k, v in warmup.items() if k != "type"})
    rates = []
    for _ in range(502):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    expected = [1 - (1 - i / 500) * (1 - 0.001) for i in range(500)] + [1.0, 1.0]
    assert rates == pytest.approx(expected, abs=1e-9)


def test_batches(case):
    cfg, (*_, batch, _) = case
    assert cfg.train_dataloader.batch_size == batch
    assert cfg.auto_scale_lr.base_batch_size == GPUS * batch
    assert cfg.train_dataloader.num_workers == 2
    assert cfg.val_dataloader.batch_size == cfg.test_dataloader.batch_size == 256


def test_augmentations_come_in_the_published_order(case):
    cfg, _ = case
    pipeline = steps(cfg, "train")
    assert list(pipeline) == [
        "LoadImage",
        "GetBBoxCenterScale",
        "mmengine.BoxCentreJitter",
        "RandomFlip",
        "RandomHalfBody",
        "mmengine.RandomBoxScaleRotation",
        "TopdownAffine",
        "GenerateTarget",
        "PackPoseInputs",
    ]
    flip = TRANSFORMS.build(pipeline["RandomFlip"])
    assert (flip.prob, flip.direction) == (0.5, "horizontal")
    half = TRANSFORMS.build(pipeline["RandomHalfBody"])
    assert (half.min_total_keypoints, half.prob, half.padding) == (9, 0.3, 1.5)
    assert TRANSFORMS.build(pipeline["GetBBoxCenterScale"]).padding == 1.25


def test_testing(case):
    cfg, _ = case
    expected = {"flip_test": True, "flip_mode": "heatmap", "shift_heatmap": True}
    assert cfg.model.test_cfg == expected
    for split in ("val", "test"):
        dataset = cfg[f"{split}_dataloader"].dataset
        assert dataset.bbox_file == (
            "data/coco/person_detection_results/COCO_val2017_detections_AP_H_56_person.json"
        )
        assert "filter_cfg" not in dataset, "boxes of any score are tested"
        config = cfg[f"{split}_evaluator"].copy()
        assert config.pop("ann_file") == "data/coco/annotations/person_keypoints_val2017.json"
        metric = METRICS.build(config)
        assert (metric.nms_mode, metric.nms_thr) == ("oks_nms", 0.9)
        assert (metric.score_mode, metric.keypoint_score_thr) == ("bbox_keypoint", 0.2)
        assert (metric.iou_type, metric.use_area) == ("keypoints", True)


def test_upper_and_lower_body_are_those_of_the_authors(case):
    metainfo = CocoDataset(lazy_init=True).metainfo
    assert metainfo["upper_body_ids"] == list(range(11))
    assert metainfo["lower_body_ids"] == list(range(11, 17))
    assert metainfo["flip_indices"] == [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    sigmas = (26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89)
    assert metainfo["sigmas"] == pytest.approx([sigma / 1000 for sigma in sigmas])
