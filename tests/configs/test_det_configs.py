"""Detection configs hold the values of the published experiments (object_detection/exp/*)."""

from pathlib import Path

import pytest
import torch
from mmdet.registry import DATASETS
from zoo_configs import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    build,
    entry,
    mmcv_1_warmup,
    names,
    optimizer_and_decays,
    rates,
    read,
)

from uniformer_mm.errors import UserError
from uniformer_mm.tasks import task_of

# name: (published parameters in millions, drop path rate, checkpointed blocks)
PUBLISHED = {
    "faster_rcnn_uniformer_s": (39, 0.2, (0, 0, 8, 0)),  # without published result
    "mask_rcnn_uniformer_xxs": (29, None, None),
    "mask_rcnn_uniformer_xs": (36, 0.15, None),
    "mask_rcnn_uniformer_s": (41, 0.2, (0, 0, 8, 0)),
    "mask_rcnn_uniformer_b": (69, 0.3, None),
    "mask_rcnn_uniformer_s_3x_ms": (41, 0.1, (0, 0, 8, 0)),
    "mask_rcnn_uniformer_b_3x_ms": (69, 0.3, (0, 0, 20, 0)),
    "cascade_mask_rcnn_uniformer_s_3x_ms": (79, 0.2, (0, 0, 8, 0)),
    "cascade_mask_rcnn_uniformer_b_3x_ms": (107, 0.4, (0, 0, 20, 0)),
}
# name: (parameters in millions, drop path rate, outputs)
RECIPES = {
    "mask_rcnn_uniformer_s_lsj": (41, 0.2, None),
    "mask2former_uniformer_s": (41, 0.2, None),
    "mask2former_uniformer_b": (69, 0.3, None),
    "dino_4scale_uniformer_s": (41, 0.2, (1, 2, 3)),
    "dino_4scale_uniformer_b": (69, 0.3, (1, 2, 3)),
    "rtmdet_ins_uniformer_s": (32, 0.2, (1, 2, 3)),
}
ARCHS = {"s": "small", "b": "base", "xxs": "xxs", "xs": "xs"}


def test_every_config_is_in_the_table():
    assert names("det") == {*PUBLISHED, *RECIPES}


@pytest.mark.parametrize("name", PUBLISHED)
def test_backbone(name):
    millions, drop_path_rate, with_cp = PUBLISHED[name]
    assert round(entry("det", name).parameters / 1e6) == millions
    arch = ARCHS[name.partition("uniformer_")[2].split("_")[0]]
    backbone = read("det", name).model.backbone
    assert backbone.arch == arch
    assert backbone.get("drop_path_rate") == drop_path_rate
    assert backbone.get("with_cp") == with_cp
    assert "norm_eval" not in backbone
    if arch in ("xxs", "xs"):
        assert backbone.type == "mmengine.UniFormerLight"
        assert backbone.init_cfg.checkpoint == f"weights/uniformer_{arch}_224_in1k.pth"
    else:
        assert backbone.type == "mmengine.UniFormer"
        assert backbone.init_cfg.checkpoint.endswith(f"uniformer_{arch}_in1k.pth")
        assert (backbone.attention, backbone.window_size) == ("hybrid", 14)


@pytest.mark.parametrize("name", PUBLISHED)
def test_optimizer_and_schedule(name):
    cfg = read("det", name)
    light, long = "_x" in name, "3x" in name
    assert {k: v for k, v in cfg.optim_wrapper.items() if k != "_scope_"} == {
        "type": "OptimWrapper" if light else "AmpOptimWrapper",
        **({} if light else {"loss_scale": "dynamic"}),
        "optimizer": {"type": "AdamW", "lr": 1e-4, "betas": (0.9, 0.999), "weight_decay": 0.05},
        "paramwise_cfg": {"custom_keys": {"norm": {"decay_mult": 0.0}}},
    }
    warmup, main = cfg.param_scheduler
    assert warmup == read("det", "mask_rcnn_uniformer_s").param_scheduler[0]
    assert main.milestones == ([27, 33] if long else [8, 11])
    assert (main.gamma, main.end, cfg.train_cfg.max_epochs) == (0.1,) + (36 if long else 12,) * 2


def test_warmup_follows_mmcv_1():
    """500 iterations from 0.001 of the rate; iteration 500 is the first at all of it."""
    (warmup, _) = read("det", "mask_rcnn_uniformer_s").param_scheduler
    assert rates([warmup], 502) == pytest.approx(mmcv_1_warmup(500, 0.001), abs=1e-9)


@pytest.mark.parametrize("name", ["mask_rcnn_uniformer_s", "cascade_mask_rcnn_uniformer_b_3x_ms"])
def test_norms_of_the_backbone_do_not_decay(name):
    cfg = read("det", name)
    model = build(cfg)
    optimizer, decays = optimizer_and_decays(model, cfg)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert decays == {name: 0.0 if "norm" in name else 0.05 for name in decays}
    assert decays["backbone.blocks3.0.pos_embed.weight"] == 0.05
    assert decays["backbone.blocks1.0.norm1.weight"] == 0.0


@pytest.mark.parametrize("name", PUBLISHED)
def test_batch_and_data(name):
    cfg = read("det", name)
    assert (cfg.train_dataloader.batch_size, cfg.auto_scale_lr.base_batch_size) == (2, 16)
    assert cfg.train_dataloader.num_workers == 2
    processor = cfg.model.data_preprocessor
    assert (processor.mean, processor.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert (processor.bgr_to_rgb, processor.pad_size_divisor) == (True, 32)
    assert cfg.test_pipeline[1].scale == (1333, 800)
    metrics = ["bbox"] if name.startswith("faster") else ["bbox", "segm"]
    assert cfg.val_evaluator.metric == cfg.test_evaluator.metric == metrics
    pipeline = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert pipeline["RandomFlip"].prob == 0.5
    if "3x" not in name:
        assert pipeline["Resize"].scale == (1333, 800)
        return
    first, second = pipeline["RandomChoice"].transforms
    sizes = [(short, 1333) for short in range(480, 801, 32)]
    assert first[0].scales == second[2].scales == sizes
    assert second[0].scales == [(400, 1333), (500, 1333), (600, 1333)]
    assert (second[1].crop_type, second[1].crop_size) == ("absolute_range", (384, 600))
    assert second[1].allow_negative_crop


@pytest.mark.parametrize("name", PUBLISHED)
def test_heads(name):
    model = read("det", name).model
    if not name.startswith("cascade"):
        assert model.roi_head.bbox_head.type == "Shared2FCBBoxHead"
        assert model.rpn_head.loss_bbox.type == "L1Loss"
        assert model.train_cfg.rpn_proposal.max_per_img == 1000
        return
    assert model.rpn_head.loss_bbox.type == "SmoothL1Loss"
    assert model.rpn_head.loss_bbox.beta == pytest.approx(1 / 9)
    assert model.train_cfg.rpn_proposal.max_per_img == 2000
    assert model.roi_head.stage_loss_weights == [1, 0.5, 0.25]
    for head, scale in zip(model.roi_head.bbox_head, [1.0, 0.5, 0.33], strict=True):
        assert (head.type, head.num_shared_convs, head.num_shared_fcs) == ("ConvFCBBoxHead", 4, 1)
        assert head.norm_cfg.type == "SyncBN"
        assert (head.reg_decoded_bbox, head.reg_class_agnostic) == (True, False)
        assert (head.loss_bbox.type, head.loss_bbox.loss_weight) == ("GIoULoss", 10.0)
        stds = [0.1 * scale, 0.1 * scale, 0.2 * scale, 0.2 * scale]
        assert head.bbox_coder.target_stds == pytest.approx(stds, abs=2e-3)


@pytest.mark.parametrize("name", RECIPES)
def test_backbone_of_recipes(name):
    millions, drop_path_rate, outputs = RECIPES[name]
    assert round(entry("det", name).parameters / 1e6) == millions
    assert (entry("det", name).metrics, entry("det", name).weights) == ({}, None)
    cfg = read("det", name)
    arch = ARCHS[name.partition("uniformer_")[2].split("_")[0]]
    backbone = cfg.model.backbone
    assert (backbone.type, backbone.arch) == ("mmengine.UniFormer", arch)
    assert (backbone.attention, backbone.window_size) == ("hybrid", 14)
    assert (backbone.drop_path_rate, backbone.get("out_indices")) == (drop_path_rate, outputs)
    assert backbone.init_cfg.checkpoint.endswith(f"uniformer_{arch}_in1k.pth")
    processor = cfg.model.data_preprocessor
    assert (processor.mean, processor.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert processor.bgr_to_rgb


@pytest.mark.parametrize(("task", "name"), [("det", "mask2former_uniformer_b")])
def test_pretrained_backbone_has_a_tenth_of_the_rate_and_its_norms_do_not_decay(task, name):
    cfg = read(task, name)
    model = build(cfg)
    optimizer, decays = optimizer_and_decays(model, cfg)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for key, parameter in model.named_parameters():
        own = key.startswith("backbone.")
        assert rates[id(parameter)] == pytest.approx(1e-5 if own else 1e-4), key
        if own:
            assert decays[key] == (0.0 if "norm" in key else 0.05), key
    assert decays["panoptic_head.query_embed.weight"] == 0.0


def test_large_scale_jitter_has_layer_decay_and_a_moving_average():
    cfg = read("det", "mask_rcnn_uniformer_s_lsj")
    model = build(cfg)
    optimizer, decays = optimizer_and_decays(model, cfg)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    rates = {name: rates[id(parameter)] for name, parameter in model.named_parameters()}
    assert rates["rpn_head.rpn_conv.weight"] == rates["backbone.norm1.weight"] == 2e-4
    assert rates["backbone.blocks4.2.mlp.fc1.weight"] == pytest.approx(2e-4 * 0.8)
    assert rates["backbone.patch_embed1.proj.weight"] == pytest.approx(2e-4 * 0.8**19)
    assert decays["backbone.blocks3.0.norm1.weight"] == 0.0
    (average,) = cfg.custom_hooks
    assert (average.type, average.ema_type, average.momentum) == (
        *("EMAHook", "ExpMomentumEMA", 2e-4),
    )
    steps = {step.type: step for step in cfg.train_dataloader.dataset.dataset.pipeline}
    assert steps["RandomResize"].ratio_range == (0.1, 2.0)
    assert steps["RandomCrop"].crop_size == (1024, 1024)


def test_instance_rtmdet_ends_without_mosaics():
    cfg = read("det", "rtmdet_ins_uniformer_s")
    average, switch = cfg.custom_hooks
    assert (average.type, switch.type, switch.switch_epoch) == (
        *("EMAHook", "PipelineSwitchHook", 90),
    )
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[1].end == 100
    steps = [[s.type for s in p] for p in (cfg.train_pipeline, switch.switch_pipeline)]
    assert ["CachedMosaic" in s for s in steps] == [True, False]


@pytest.mark.parametrize("name", ["mask2former_uniformer_s", "rtmdet_ins_uniformer_s"])
def test_augmented_testing_of_instance_segmentation_without_mask_head_is_refused(name):
    cfg = read("det", name)
    with pytest.raises(UserError, match=r"always predicts masks: test it without --tta"):
        task_of(cfg).use_test_time_augmentation(cfg)


@pytest.mark.parametrize("name", [name for name in RECIPES if "_s" in name])
def test_synthetic_run_of_recipes(name, tmp_path):
    """Trains the backbone at the full rate, on small images, without changes of hue."""
    cfg = read("det", name)
    task_of(cfg).use_synthetic_data(cfg, 4, tmp_path)
    settings = str(cfg.optim_wrapper)
    assert "lr_mult': 0.1" not in settings
    assert cfg.optim_wrapper.paramwise_cfg.get("layer_decay_rate", 1.0) == 1.0
    dataset = cfg.train_dataloader.dataset
    dataset = DATASETS.build(dataset.get("dataset", dataset))
    inputs = [dataset[index]["inputs"] for index in range(len(dataset))]
    assert max(max(image.shape) for image in inputs) <= 300
    kinds = {type(step).__name__ for step in dataset.pipeline.transforms}
    assert not kinds & {"CachedMosaic", "CachedMixUp", "YOLOXHSVRandomAug"}
    assert len(cfg.get("custom_hooks") or []) == ("lsj" in name or "rtmdet" in name)
    queries = cfg.model.get("num_queries") or cfg.model.get("panoptic_head", {}).get("num_queries")
    assert queries in (None, 30, 60)


@pytest.mark.parametrize("attention", ["global", "window", "hybrid"])
def test_attention_is_one_line(attention):
    cfg = read("det", "mask_rcnn_uniformer_s")
    cfg.merge_from_dict({"model.backbone.attention": attention})
    sizes = [block.window_size for block in build(cfg).backbone.blocks3]
    assert (0 in sizes, 14 in sizes) == (attention != "window", attention != "global")


@pytest.mark.parametrize(
    "name", ["faster_rcnn_uniformer_s", "mask_rcnn_uniformer_s", "mask_rcnn_uniformer_s_3x_ms"]
)
def test_training_pipeline_runs(name, synthetic_folder, monkeypatch):
    """Every transform exists and takes what the config gives it."""
    monkeypatch.chdir(synthetic_folder)
    cfg = read("det", name)
    task_of(cfg).use_synthetic_data(cfg, 8, Path("data", "synthetic"))
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert {dataset[index]["inputs"].shape[0] for index in range(len(dataset))} == {3}
