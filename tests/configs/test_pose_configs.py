"""Pose configs hold the values of the published experiments (pose_estimation/exp/*)."""

import pytest
import torch
from mmpose.datasets import CocoDataset
from mmpose.registry import METRICS, MODELS, TRANSFORMS
from torch import nn
from zoo_configs import (
    build,
    datasets,
    entry,
    mmcv_1_warmup,
    names,
    optimizer_and_decays,
    rates,
    read,
    transforms,
)

# name: (drop path rate, input (w, h), sigma, lr, batch per GPU, checkpoint interval)
PUBLISHED = {
    "td_hm_uniformer_s_256x192": (0.2, (192, 256), 2, 2e-3, 128, 5),
    "td_hm_uniformer_s_384x288": (0.2, (288, 384), 3, 2e-3, 128, 5),
    "td_hm_uniformer_s_448x320": (0.2, (320, 448), 3, 1e-3, 64, 5),
    "td_hm_uniformer_b_256x192": (0.4, (192, 256), 2, 2e-3, 128, 5),
    "td_hm_uniformer_b_384x288": (0.5, (288, 384), 3, 5e-4, 32, 5),
    "td_hm_uniformer_b_448x320": (0.55, (320, 448), 3, 5e-4, 32, 10),
}
SIZES = {"s": ("small", 25_232_465), "b": ("base", 53_463_761)}


def test_every_config_is_in_the_table():
    assert names("pose") == {*PUBLISHED, "simcc_uniformer_s_256x192"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipe(name):
    drop_path_rate, size, sigma, lr, batch, interval = PUBLISHED[name]
    arch, parameters = SIZES[name.split("_")[3]]
    cfg = read("pose", name)
    assert entry("pose", name).parameters == parameters
    assert cfg.model.backbone.pop("init_cfg").checkpoint.endswith(f"uniformer_{arch}_in1k.pth")
    assert cfg.model.backbone == {
        "type": "mmengine.UniFormer",
        "arch": arch,
        "attention": "global",
        "drop_path_rate": drop_path_rate,
        "out_indices": (3,),
    }
    heatmap = (size[0] // 4, size[1] // 4)
    steps = {split: transforms(dataset.pipeline) for split, dataset in datasets(cfg).items()}
    for codec in (cfg.codec, cfg.model.head.decoder, steps["train"]["GenerateTarget"].encoder):
        assert codec.type == "MSRAHeatmap"
        assert (codec.input_size, codec.heatmap_size, codec.sigma) == (size, heatmap, sigma)
        assert not codec.get("unbiased", False)
    assert {tuple(found["TopdownAffine"].input_size) for found in steps.values()} == {size}
    assert list(steps["train"]) == [
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
    assert cfg.train_dataloader.batch_size == batch
    assert cfg.auto_scale_lr.base_batch_size == 8 * batch
    assert cfg.train_dataloader.num_workers == 2
    assert cfg.val_dataloader.batch_size == cfg.test_dataloader.batch_size == 256
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (210, 10)
    checkpoint = cfg.default_hooks.checkpoint
    assert (checkpoint.interval, checkpoint.save_best) == (interval, "coco/AP")
    assert cfg.optim_wrapper.optimizer.lr == lr
    cfg.optim_wrapper.optimizer.lr = 2e-3
    first = read("pose", "td_hm_uniformer_s_256x192")
    for section in ("optim_wrapper", "param_scheduler", "val_evaluator", "test_evaluator"):
        assert cfg[section] == first[section], "the tests below have its values"
    for section in ("test_cfg", "data_preprocessor"):
        assert cfg.model[section] == first.model[section]
    cfg.model.head.decoder = first.model.head.decoder
    assert cfg.model.head == first.model.head


@pytest.fixture
def cfg():
    """What the configs share is tested on the first one."""
    return read("pose", "td_hm_uniformer_s_256x192")


def test_head_and_norms(cfg):
    model = build(cfg)
    assert {block.window_size for block in model.backbone.blocks3} == {0}
    assert not any(hasattr(model.backbone, name) for name in ("norm1", "norm2", "norm3"))
    norms = [m for m in model.backbone.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(isinstance(norm, nn.BatchNorm2d) for norm in norms)
    assert all(isinstance(model.head.deconv_layers[i], nn.SyncBatchNorm) for i in (1, 4, 7))
    shapes = [tuple(model.head.deconv_layers[i].weight.shape) for i in (0, 3, 6)]
    assert shapes == [(512, 256, 4, 4), (256, 256, 4, 4), (256, 256, 4, 4)]
    assert tuple(model.head.final_layer.weight.shape) == (17, 256, 1, 1)
    loss = MODELS.build(cfg.model.head.loss)
    assert (type(loss).__name__, loss.use_target_weight) == ("KeypointMSELoss", True)


def test_every_parameter_gets_a_gradient(cfg):
    """So that distributed training need not search for unused ones."""
    cfg.model.backbone.arch = {"depths": (1, 1, 1, 1)}
    model = MODELS.build(cfg.model)
    model(torch.randn(2, 3, 64, 64), None, mode="tensor").square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_optimizer_lets_everything_decay(cfg):
    wrapper = cfg.optim_wrapper
    assert (wrapper.type, wrapper.loss_scale) == ("AmpOptimWrapper", "dynamic")
    assert "clip_grad" not in wrapper
    optimizer, decays = optimizer_and_decays(build(cfg), cfg)
    assert type(optimizer) is torch.optim.AdamW
    assert {(g["lr"], g["betas"]) for g in optimizer.param_groups} == {(2e-3, (0.9, 0.999))}
    assert set(decays.values()) == {0.01}


def test_learning_rate(cfg):
    warmup, main = cfg.param_scheduler
    assert rates([warmup], 502) == pytest.approx(mmcv_1_warmup(500, 0.001), abs=1e-9)
    assert (main.type, main.by_epoch, main.begin, main.end) == ("MultiStepLR", True, 0, 210)
    assert (main.milestones, main.gamma) == ([170, 200], 0.1)


def test_augmentation_and_normalization(cfg):
    steps = transforms(cfg.train_dataloader.dataset.pipeline)
    flip = TRANSFORMS.build(steps["RandomFlip"])
    assert (flip.prob, flip.direction) == (0.5, "horizontal")
    half = TRANSFORMS.build(steps["RandomHalfBody"])
    assert (half.min_total_keypoints, half.prob, half.padding) == (9, 0.3, 1.5)
    assert TRANSFORMS.build(steps["GetBBoxCenterScale"]).padding == 1.25
    processor = cfg.model.data_preprocessor
    assert processor.mean == pytest.approx([255 * mean for mean in (0.485, 0.456, 0.406)])
    assert processor.std == pytest.approx([255 * std for std in (0.229, 0.224, 0.225)])
    assert processor.bgr_to_rgb


@pytest.mark.parametrize("split", ["val", "test"])
def test_testing(cfg, split):
    expected = {"flip_test": True, "flip_mode": "heatmap", "shift_heatmap": True}
    assert cfg.model.test_cfg == expected
    for name in PUBLISHED:
        dataset = read("pose", name)[f"{split}_dataloader"].dataset
        assert dataset.bbox_file == (
            "data/coco/person_detection_results/COCO_val2017_detections_AP_H_56_person.json"
        )
        assert "filter_cfg" not in dataset, "boxes of any score are tested"
    evaluator = cfg[f"{split}_evaluator"]
    assert evaluator.pop("ann_file") == "data/coco/annotations/person_keypoints_val2017.json"
    metric = METRICS.build(evaluator)
    assert (metric.nms_mode, metric.nms_thr) == ("oks_nms", 0.9)
    assert (metric.score_mode, metric.keypoint_score_thr) == ("bbox_keypoint", 0.2)
    assert (metric.iou_type, metric.use_area) == ("keypoints", True)


def test_keypoints_are_those_of_the_authors(cfg):
    metainfo = CocoDataset(lazy_init=True).metainfo
    assert metainfo["upper_body_ids"] == list(range(11))
    assert metainfo["lower_body_ids"] == list(range(11, 17))
    assert metainfo["flip_indices"] == [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    sigmas = (26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89)
    assert metainfo["sigmas"] == pytest.approx([sigma / 1000 for sigma in sigmas])


def test_simcc_differs_in_head_and_codec_only():
    cfg, heatmaps = read("pose", "simcc_uniformer_s_256x192"), read("pose", next(iter(PUBLISHED)))
    assert (entry("pose", "simcc_uniformer_s_256x192").metrics) == {}
    head, codec = cfg.model.pop("head"), cfg.pop("codec")
    codec = {key: value for key, value in codec.items() if key != "_scope_"}
    assert (head.type, head.in_featuremap_size, head.decoder) == ("SimCCHead", (6, 8), codec)
    assert codec == {
        "type": "SimCCLabel",
        "input_size": (192, 256),
        "sigma": 6.0,
        "simcc_split_ratio": 2.0,
    }
    assert transforms(cfg.train_dataloader.dataset.pipeline)["GenerateTarget"].encoder == codec
    for section in ("optim_wrapper", "param_scheduler", "val_dataloader", "test_dataloader"):
        assert cfg[section] == heatmaps[section]
    assert cfg.model.backbone == heatmaps.model.backbone
