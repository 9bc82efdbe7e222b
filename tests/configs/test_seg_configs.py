"""Segmentation configs hold the values of the published experiments (semantic_segmentation/**)."""

import math

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmseg.registry import MODELS
from zoo_configs import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    build,
    entry,
    names,
    optimizer_and_decays,
    rates,
    read,
)

import uniformer_mm

# method, arch: (published parameters in millions, drop path rate, checkpointed blocks)
METHODS = {
    ("upernet", "s"): (52, 0.25, None),
    ("upernet", "b"): (80, 0.4, (0, 0, 2, 0)),
    ("semantic_fpn", "s"): (25, 0.1, None),
    ("semantic_fpn", "b"): (54, 0.2, None),
}
# attention and window size of the backbone; global attention has no window
SETTINGS = {
    "h14": ("hybrid", 14),
    "global": ("global", None),
    "w32": ("window", 32),
    "h32": ("hybrid", 32),
}
NAMES = {
    f"{method}_uniformer_{arch}_{setting}": (method, arch, setting)
    for method, arch in METHODS
    for setting in SETTINGS
}

# published parameters in millions, drop path rate, channels of the four stages
LIGHT = {
    "xxs": (13.5, 0.0, [56, 112, 224, 448]),
    "xs": (19.7, 0.1, [64, 128, 256, 512]),
}


# configs without published results
RECIPES = ("segformer_uniformer_s", "mask2former_uniformer_s", "mask2former_uniformer_b")


@pytest.fixture(params=["upernet", "semantic_fpn"])
def case(request):
    """A config and its method; what it has but the backbone, the others of the method have too."""
    return read("seg", f"{request.param}_uniformer_s_h14"), request.param


def test_every_config_is_in_a_table():
    light = {f"semantic_fpn_uniformer_{arch}" for arch in LIGHT}
    assert names("seg") == {*NAMES, *light, *RECIPES}


@pytest.mark.parametrize("name", NAMES)
def test_configs_of_a_method_differ_in_the_backbone_only(name):
    method, arch, setting = NAMES[name]
    millions, drop_path_rate, with_cp = METHODS[method, arch]
    attention, window_size = SETTINGS[setting]
    assert round(entry("seg", name).parameters / 1e6) == millions
    cfg, first = read("seg", name), read("seg", f"{method}_uniformer_s_h14")
    backbone = cfg.model.pop("backbone")
    del first.model["backbone"]
    assert cfg.to_dict() == first.to_dict()
    size = {"s": "small", "b": "base"}[arch]
    assert backbone.pop("init_cfg").checkpoint.endswith(f"uniformer_{size}_in1k.pth")
    assert backbone == {
        "type": "mmengine.UniFormer",
        "dims": 2,
        "arch": size,
        "attention": attention,
        **({"window_size": window_size} if window_size else {}),
        "drop_path_rate": drop_path_rate,
        **({"with_cp": with_cp} if with_cp else {}),
    }


@pytest.mark.parametrize("setting", SETTINGS)
def test_windows_of_the_blocks(setting):
    attention, size = SETTINGS[setting]
    blocks = build(read("seg", f"semantic_fpn_uniformer_s_{setting}")).backbone.blocks3
    expected = {
        "global": [0] * 8,
        "window": [size] * 8,
        "hybrid": [size, size, size, 0] * 2,
    }
    assert [block.window_size for block in blocks] == expected[attention]


@pytest.mark.parametrize("arch", LIGHT)
def test_lightweight_configs_differ_in_the_backbone_only(arch):
    millions, drop_path_rate, channels = LIGHT[arch]
    name = f"semantic_fpn_uniformer_{arch}"
    assert round(entry("seg", name).parameters / 1e6, 1) == millions
    cfg, small = read("seg", name), read("seg", "semantic_fpn_uniformer_s_h14")
    model = build(cfg)
    assert type(model.backbone) is uniformer_mm.UniFormerLight
    assert list(model.backbone.embed_dims) == channels
    backbone = cfg.model.pop("backbone")
    assert backbone.pop("drop_path_rate", 0.0) == drop_path_rate
    checkpoint = f"weights/uniformer_{arch}_224_in1k.pth"
    assert backbone == {
        "type": "mmengine.UniFormerLight",
        "arch": arch,
        "init_cfg": {"type": "Pretrained", "checkpoint": checkpoint},
    }
    assert cfg.model.neck.in_channels == channels
    cfg.model.neck.in_channels = [64, 128, 320, 512]
    del small.model["backbone"]
    assert {key: value for key, value in cfg.items() if not key.startswith("imagenet_")} == {
        key: value for key, value in small.items() if not key.startswith("imagenet_")
    }


# What our configs set, and what mmseg's bases have to bring.
HEADS = {
    "upernet": {
        "decode_head": {
            "type": "UPerHead",
            "in_channels": [64, 128, 320, 512],
            "pool_scales": (1, 2, 3, 6),
            "channels": 512,
        },
        "auxiliary_head": {
            "type": "FCNHead",
            "in_channels": 320,
            "in_index": 2,
            "channels": 256,
            "num_convs": 1,
        },
    },
    "semantic_fpn": {
        "neck": {
            "type": "FPN",
            "in_channels": [64, 128, 320, 512],
            "out_channels": 256,
            "num_outs": 4,
        },
        "decode_head": {
            "type": "FPNHead",
            "in_channels": [256] * 4,
            "feature_strides": [4, 8, 16, 32],
            "channels": 128,
        },
    },
}


def test_heads_and_test_mode(case):
    cfg, method = case
    model = cfg.model
    assert (model.type, model.pretrained) == ("EncoderDecoder", None)
    assert model.test_cfg == {"mode": "whole"}
    parts = {"neck", "decode_head", "auxiliary_head"} & set(model)
    assert parts == set(HEADS[method])
    for part in parts:
        expected = dict(HEADS[method][part])
        if part != "neck":
            weight = 0.4 if part == "auxiliary_head" else 1.0
            expected.update(
                num_classes=150,
                dropout_ratio=0.1,
                norm_cfg={"type": "SyncBN", "requires_grad": True},
                align_corners=False,
                loss_decode={
                    "type": "CrossEntropyLoss",
                    "use_sigmoid": False,
                    "loss_weight": weight,
                },
            )
            expected.setdefault("in_index", [0, 1, 2, 3])
        found = dict(model[part])
        assert not found.pop("concat_input", False)
        assert found == expected


def test_optimizer_and_decay(case):
    """The names of mmcv's ConvModule have no `norm` in them: in the heads everything decays."""
    cfg, method = case
    assert cfg.optim_wrapper.type == "OptimWrapper", "single precision"
    assert cfg.optim_wrapper.clip_grad is None
    rate, decay = {"upernet": (6e-5, 0.01), "semantic_fpn": (2e-4, 1e-4)}[method]
    model = build(cfg)
    optimizer, decays = optimizer_and_decays(model, cfg)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {(g["lr"], tuple(g["betas"])) for g in optimizer.param_groups} == {(rate, (0.9, 0.999))}
    assert set(decays.values()) <= {0.0, decay}
    exempt = {name for name, value in decays.items() if value == 0.0}
    if method == "semantic_fpn":
        assert exempt == set()
        return
    norms = {name for name, _ in model.backbone.named_parameters() if "norm" in name}
    assert {"norm1.weight", "blocks1.0.norm1.bias", "patch_embed1.norm.weight"} <= norms
    assert exempt == {f"backbone.{name}" for name in norms}
    assert any(".bn." in name for name, _ in model.decode_head.named_parameters())


def mmcv_1_rate(method, iteration):
    """Share of the learning rate in mmcv 1.x, whose linear warm-up is laid over the main curve."""
    warmup, ratio, total = {"upernet": (1500, 1e-6, 160000), "semantic_fpn": (1000, 0.1, 80000)}[
        method
    ]
    if method == "upernet":
        rate = 1 - iteration / total
    else:
        rate = 1e-8 + (1 - 1e-8) * (math.cos(math.pi * iteration / total) + 1) / 2
    return rate * (1 - (1 - min(iteration / warmup, 1)) * (1 - ratio))


def test_learning_rate_follows_mmcv_1(case):
    cfg, method = case
    total = {"upernet": 160000, "semantic_fpn": 80000}[method]
    assert cfg.train_cfg.max_iters == total
    interval = {"upernet": 16000, "semantic_fpn": 4000}[method]
    assert cfg.train_cfg.val_interval == cfg.default_hooks.checkpoint.interval == interval
    assert not any(settings.by_epoch for settings in cfg.param_scheduler)
    # An end that is off by one shows at this precision.
    expected = [mmcv_1_rate(method, iteration) for iteration in range(2000)]
    assert rates(cfg.param_scheduler, 2000) == pytest.approx(expected, rel=1e-9)


def test_batch_and_data(case):
    cfg, method = case
    loader = cfg.train_dataloader
    per_gpu, total = {"upernet": (2, 16), "semantic_fpn": (4, 32)}[method]
    assert (loader.batch_size, cfg.auto_scale_lr.base_batch_size) == (per_gpu, total)
    assert (loader.num_workers, loader.sampler.type) == (4, "InfiniteSampler")
    assert loader.dataset.type == "ADE20KDataset"
    assert cfg.val_dataloader.batch_size == cfg.test_dataloader.batch_size == 1
    assert cfg.val_evaluator.iou_metrics == ["mIoU"], "which includes mAcc and aAcc"
    processor = cfg.model.data_preprocessor
    assert (processor.mean, processor.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert (processor.bgr_to_rgb, processor.pad_val, processor.seg_pad_val) == (True, 0, 255)
    assert processor.size == (512, 512)
    assert loader.dataset.pipeline == [
        {"type": "LoadImageFromFile"},
        {"type": "LoadLabelMap"},
        {
            "type": "RandomResize",
            "scale": (2048, 512),
            "ratio_range": (0.5, 2.0),
            "keep_ratio": True,
        },
        {"type": "RandomCrop", "crop_size": (512, 512), "cat_max_ratio": 0.75},
        {"type": "RandomFlip", "prob": 0.5},
        {"type": "PhotoMetricDistortion"},
        {"type": "PackSegInputs"},
    ]


def test_augmented_testing_has_six_scales_of_the_test_size_each_flipped(case):
    """In mmseg 0.x the ratios were of the test size; mmseg 1.x applies its own to the image."""
    cfg, method = case
    assert cfg.tta_model.type == "SegTTAModel"
    resizes, *between, flips, labels, pack = cfg.tta_pipeline[1].transforms
    scales = [(1024, 256), (1536, 384), (2048, 512), (2560, 640), (3072, 768), (3584, 896)]
    assert [step.scale for step in resizes] == scales
    assert all(step.type == "Resize" and step.keep_ratio for step in resizes)
    assert [step.prob for step in flips] == [0.0, 1.0]
    assert (labels[0].type, pack[0].type) == ("LoadLabelMap", "PackSegInputs")
    multiple = [{"type": "ResizeToMultiple", "size_divisor": 32}]
    assert between == ([multiple] if method == "semantic_fpn" else [])


@pytest.mark.parametrize("size", [(333, 500), (683, 512), (64, 400), (512, 512)])
@pytest.mark.parametrize("method", ["upernet", "semantic_fpn"])
def test_images_reach_the_model_unpadded_and_for_fpn_enlarged_to_multiples_of_32(
    method, size, tmp_path
):
    cfg = read("seg", f"{method}_uniformer_s_h14")
    height, width = size
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "image.png"), image)
    cv2.imwrite(str(tmp_path / "labels.png"), np.ones(size, np.uint8))
    sample = {
        "img_path": str(tmp_path / "image.png"),
        "seg_map_path": str(tmp_path / "labels.png"),
        "seg_fields": [],
        "reduce_zero_label": True,
    }
    packed = Compose(cfg.test_pipeline)(sample)
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    batch = preprocessor(pseudo_collate([packed]), training=False)

    factor = min(512 / min(size), 2048 / max(size))
    resized = (int(height * factor + 0.5), int(width * factor + 0.5))
    expected = cv2.resize(image, resized[::-1], interpolation=cv2.INTER_LINEAR)
    if method == "semantic_fpn":
        aligned = [math.ceil(side / 32) * 32 for side in resized]
        expected = cv2.resize(expected, aligned[::-1], interpolation=cv2.INTER_LINEAR)
    mean, std = np.float32(cfg.model.data_preprocessor.mean), cfg.model.data_preprocessor.std
    expected = (expected[..., ::-1] - mean) / np.float32(std)
    torch.testing.assert_close(
        batch["inputs"][0], torch.from_numpy(expected.transpose(2, 0, 1).copy())
    )
    assert batch["data_samples"][0].gt_sem_seg.shape == size, "the ground truth keeps its size"


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_those_of_the_heads(name):
    cfg = read("seg", name)
    arch = {"s": "small", "b": "base"}[name[-1]]
    assert (entry("seg", name).metrics, entry("seg", name).weights) == ({}, None)
    backbone = cfg.model.backbone
    assert (backbone.arch, backbone.attention, backbone.window_size) == (arch, "hybrid", 14)
    assert backbone.init_cfg.checkpoint.endswith(f"uniformer_{arch}_in1k.pth")
    assert cfg.model.decode_head.num_classes == 150
    assert [hook.type for hook in cfg.custom_hooks] == ["CheckLabelsHook"]
    for pipeline in (cfg.train_pipeline, cfg.test_pipeline, cfg.tta_pipeline[1].transforms[2]):
        kinds = {step.type for step in pipeline}
        assert "LoadLabelMap" in kinds
        assert "LoadAnnotations" not in kinds
    for split in ("train", "val", "test"):
        pipeline = cfg.train_pipeline if split == "train" else cfg.test_pipeline
        assert cfg[f"{split}_dataloader"].dataset.pipeline == pipeline
    optimizer, _ = optimizer_and_decays(model := build(cfg), cfg)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    own = rates[id(model.backbone.blocks3[0].norm1.weight)]
    for key, parameter in model.named_parameters():
        share = 1 if key.startswith("backbone.") else 10
        assert rates[id(parameter)] == pytest.approx(share * own), key
