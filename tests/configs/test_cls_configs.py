"""Classification configs hold the values of the published experiments (image_classification)."""

import copy
import functools
import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

import uniformer_mm
from uniformer_mm.engine.schedulers import WarmupCosineLR
from uniformer_mm.tasks import task_of

pytest.importorskip("mmpretrain")
from mmpretrain.registry import DATASETS, MODELS

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "cls"

# name: (parameters, arch, channels per head, drop path rate, layer scale, learning rate)
PLAIN = {
    "uniformer_s_in1k": (21_545_256, "small", 64, 0.1, "none", 1e-3),
    "uniformer_s_plus_in1k": (24_032_552, "small_plus", 32, 0.1, "none", 1e-3),
    "uniformer_s_plus_dim64_in1k": (24_032_552, "small_plus", 64, 0.1, "none", 1e-3),
    "uniformer_b_in1k": (49_776_552, "base", 64, 0.3, "none", 8e-4),
    "uniformer_b_ls_in1k": (49_796_520, "base", 64, 0.3, "global", 8e-4),
}
TOKEN_LABELING_224 = {
    "uniformer_s_tl_224_in1k": (22_058_256, "small", 32, 0.1, "none", 1.6e-3),
    "uniformer_s_dim64_tl_224_in1k": (22_058_256, "small", 64, 0.1, "none", 1.6e-3),
    "uniformer_s_plus_tl_224_in1k": (24_545_552, "small_plus", 32, 0.1, "none", 1.6e-3),
    "uniformer_s_plus_dim64_tl_224_in1k": (24_545_552, "small_plus", 64, 0.1, "none", 1.6e-3),
    "uniformer_b_tl_224_in1k": (50_289_552, "base", 32, 0.3, "none", 1.6e-3),
    "uniformer_b_dim64_tl_224_in1k": (50_289_552, "base", 64, 0.3, "none", 1.6e-3),
    "uniformer_l_ls_tl_224_in1k": (100_103_888, "large", 64, 0.4, "all", 1.2e-3),
}
TOKEN_LABELING_384 = {
    "uniformer_s_tl_384_in1k": (22_058_256, "small", 32, 0.1, "none", 5e-6),
    "uniformer_s_plus_tl_384_in1k": (24_545_552, "small_plus", 32, 0.1, "none", 5e-6),
    "uniformer_b_tl_384_in1k": (50_289_552, "base", 32, 0.3, "none", 5e-6),
    "uniformer_l_ls_tl_384_in1k": (100_103_888, "large", 64, 0.3, "all", 5e-6),
}
TOKEN_LABELING = {**TOKEN_LABELING_224, **TOKEN_LABELING_384}
PUBLISHED = {**PLAIN, **TOKEN_LABELING}

# name: (parameters, arch, pixels, shorter side in testing, drop path rate, learning rate, decay)
LIGHT = {
    "uniformer_xxs_128_in1k": (10_215_280, "xxs", 128, 146, 0.0, 3.2e-3, 0.1),
    "uniformer_xxs_160_in1k": (10_215_280, "xxs", 160, 182, 0.0, 3.2e-3, 0.1),
    "uniformer_xxs_192_in1k": (10_215_280, "xxs", 192, 219, 0.0, 3.2e-3, 0.1),
    "uniformer_xxs_224_in1k": (10_215_280, "xxs", 224, 256, 0.0, 3.2e-3, 0.1),
    "uniformer_xs_192_in1k": (16_509_264, "xs", 192, 219, 0.1, 4e-3, 0.05),
    "uniformer_xs_224_in1k": (16_509_264, "xs", 224, 256, 0.1, 4e-3, 0.05),
}


@pytest.fixture(autouse=True)
def scope():
    init_default_scope("mmpretrain")


@functools.cache
def parse(name):
    return Config.fromfile(FOLDER / f"{name}.py")


def read(name):
    return copy.deepcopy(parse(name))


@functools.cache
def build(name):
    """The model, without memory for its tensors."""
    cfg = read(name)
    with torch.device("meta"):
        return MODELS.build({**cfg.model, "data_preprocessor": dict(cfg.data_preprocessor)})


def steps(pipeline):
    """Transforms by type; of those in branches the last one."""
    found = {}
    for step in pipeline:
        found[step.type] = step
        for branch in step.get("transforms", []):
            found.update(steps(branch))
    return found


def test_every_config_is_in_a_table():
    assert {path.stem for path in FOLDER.glob("*.py")} == {*PUBLISHED, *LIGHT}


@pytest.mark.parametrize("name", PUBLISHED)
def test_model(name):
    parameters, arch, head_dim, drop_path_rate, layer_scale, _ = PUBLISHED[name]
    cfg = read(name)
    model = build(name)
    backbone = model.backbone
    assert type(model).__name__ == "ImageClassifier"
    assert type(backbone) is uniformer_mm.UniFormer
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert cfg.model.backbone.arch == arch
    assert backbone.blocks4[0].attn.num_heads == backbone.embed_dims[3] // head_dim
    assert cfg.model.backbone.drop_path_rate == drop_path_rate
    scaled = (backbone.blocks1[0].gamma_1 is not None, backbone.blocks3[0].gamma_1 is not None)
    assert (
        scaled
        == {"none": (False, False), "global": (False, True), "all": (True, True)}[layer_scale]
    )
    assert "init_cfg" not in cfg.model.backbone
    head = "TokenLabelingHead" if name in TOKEN_LABELING else "LinearClsHead"
    assert type(model.head).__name__ == head
    assert (model.neck is None) == (name in TOKEN_LABELING)
    loss = model.head.loss_module
    assert (loss.label_smooth_val, loss.mode, loss.reduction) == (0.1, "original", "mean")


@pytest.mark.parametrize("name", PUBLISHED)
def test_optimizer(name):
    cfg = read(name)
    weight_decay = 1e-8 if name in TOKEN_LABELING_384 else 0.05
    assert cfg.optim_wrapper.type == "AmpOptimWrapper"
    assert cfg.optim_wrapper.loss_scale == "dynamic"
    assert "clip_grad" not in cfg.optim_wrapper
    cfg.optim_wrapper.type = "OptimWrapper"  # the AMP wrapper refuses to be built without a GPU
    cfg.optim_wrapper.pop("loss_scale")
    model = build(name)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    assert isinstance(optimizer, torch.optim.AdamW)
    groups = optimizer.param_groups
    rate = PUBLISHED[name][-1]
    assert {(g["lr"], g["betas"], g["eps"]) for g in groups} == {(rate, (0.9, 0.999), 1e-8)}
    decay = {id(p): g["weight_decay"] for g in groups for p in g["params"]}
    for parameter in model.parameters():
        assert decay[id(parameter)] == (0.0 if parameter.ndim == 1 else weight_decay)
    if "l_ls" in name:  # of shape (1, C, 1, 1)
        assert decay[id(model.backbone.blocks1[0].gamma_1)] == weight_decay
        assert decay[id(model.backbone.blocks3[0].gamma_1)] == 0.0


@pytest.mark.parametrize(
    "name", [*PLAIN, *TOKEN_LABELING_224, "uniformer_xxs_128_in1k", "uniformer_xs_192_in1k"]
)
def test_learning_rate_is_that_of_timm(name):
    """Per epoch. DeiT's loop, of all but token labelling, hands on the epoch that is over."""
    cfg = read(name)
    rate = LIGHT[name][-2] if name in LIGHT else PUBLISHED[name][-1]
    warmup, epochs = (30, 600) if name in LIGHT else (5, 300)

    def timm(epoch):
        if epoch < warmup:
            return 1e-6 + epoch * (rate - 1e-6) / warmup
        if epoch < epochs:
            return 1e-5 + 0.5 * (rate - 1e-5) * (1 + math.cos(math.pi * epoch / epochs))
        return 1e-5

    if name not in TOKEN_LABELING:
        expected = [timm(0)] + [timm(epoch - 1) for epoch in range(1, epochs)]
    else:
        expected = [timm(epoch) for epoch in range(310)]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    (config,) = cfg.param_scheduler
    assert config.type == "mmengine.WarmupCosineLR"
    scheduler = WarmupCosineLR(optimizer, **{k: v for k, v in config.items() if k != "type"})
    rates = []
    assert cfg.train_cfg.by_epoch
    for _ in range(cfg.train_cfg.max_epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", TOKEN_LABELING_384)
def test_fine_tuning_is_at_a_constant_rate_from_the_weights_at_224_pixels(name):
    cfg = read(name)
    assert cfg.param_scheduler is None
    assert (cfg.train_cfg.max_epochs, cfg.custom_hooks) == (60, [])
    assert cfg.load_from == f"work_dirs/{name.replace('384', '224')}/epoch_310.pth"


@pytest.mark.parametrize(("name", "momentum"), [("s", 4e-5), ("s_tl_224", 8e-5)])
def test_moving_average(name, momentum):
    """It is what is evaluated in token labelling, and only kept in the plain recipe."""
    (hook,) = read(f"uniformer_{name}_in1k").custom_hooks
    assert (hook.type, hook.momentum, hook.update_buffers) == ("EMAHook", momentum, True)
    assert hook.get("evaluate_on_ema", True) == ("tl" in name)
    assert hook.get("evaluate_on_origin", False) == ("tl" not in name)


@pytest.mark.parametrize("name", PUBLISHED)
def test_batch_and_data(name):
    cfg = read(name)
    loader = cfg.train_dataloader
    per_gpu = 128
    if name in TOKEN_LABELING_384:
        per_gpu = 32 if "l_ls" in name else 64
    assert (loader.batch_size, cfg.auto_scale_lr.base_batch_size) == (per_gpu, 8 * per_gpu)
    assert loader.drop_last
    sampler = "RepeatAugSampler" if name in PLAIN else "DefaultSampler"
    assert loader.sampler.type == sampler
    assert (loader.dataset.type, loader.dataset.data_root) == ("ImageNet", "data/imagenet")
    assert cfg.val_dataloader.batch_size == (192 if name in PLAIN else per_gpu)
    processor = cfg.data_preprocessor
    assert (processor.mean, processor.std) == ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    assert processor.to_rgb
    size, resized = (384, 426) if name in TOKEN_LABELING_384 else (224, 248)
    if name in PLAIN:
        resized = 256
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        pipeline = steps(loader.dataset.pipeline)
        resize = pipeline["ResizeEdge"]
        assert (resize.scale, resize.edge) == (resized, "short")
        assert (resize.interpolation, resize.backend) == ("bicubic", "pillow")
        assert pipeline["CenterCrop"].crop_size == size
    assert cfg.val_evaluator.type == "Accuracy"


@pytest.mark.parametrize("name", PUBLISHED)
def test_augmentation(name):
    cfg = read(name)
    pipeline = cfg.train_dataloader.dataset.pipeline
    found = steps(pipeline)
    crop = found["RandomResizedCrop"]
    size = 384 if name in TOKEN_LABELING_384 else 224
    assert crop == {
        "type": "RandomResizedCrop",
        "scale": size,
        "backend": "pillow",
        "interpolation": "bicubic",
    }  # mmpretrain's defaults are an area of 0.08 to 1 and an aspect ratio of 3/4 to 4/3
    augment = found["RandAugment"]
    assert augment.policies == "timm_increasing"
    assert (augment.num_policies, augment.total_level) == (2, 10)
    assert (augment.magnitude_level, augment.magnitude_std) == (9, 0.5)
    assert augment.hparams == {"pad_val": [104, 116, 124], "interpolation": "bicubic"}
    erasing = found["RandomErasing"]
    assert (erasing.erase_prob, erasing.mode) == (0.25, "rand")
    assert (erasing.min_area_ratio, erasing.max_area_ratio) == (0.02, 1 / 3)
    assert (found["RandomFlip"].prob, found["RandomFlip"].direction) == (0.5, "horizontal")
    if name in PLAIN:
        assert list(cfg.model.train_cfg) == ["augments"]
        assert cfg.model.train_cfg.augments == [
            {"type": "Mixup", "alpha": 0.8},
            {"type": "CutMix", "alpha": 1.0},
        ]
        return
    assert "train_cfg" not in cfg.model
    assert cfg.data_preprocessor.type == "MixTokenDataPreprocessor"
    branches = next(step.transforms for step in pipeline if step.type == "RandomChoice")
    for branch, interpolation in zip(branches, ("bilinear", "bicubic"), strict=True):
        first, second = branch
        assert (first.type, first.hparams.interpolation) == ("RandAugment", interpolation)
        assert (second.scale, second.interpolation) == (size, interpolation)


@pytest.mark.parametrize("name", LIGHT)
def test_light_model(name):
    parameters, arch, *_, drop_path_rate, _, _ = LIGHT[name]
    cfg, model = read(name), build(name)
    assert type(model).__name__ == "ImageClassifier"
    assert type(model.backbone) is uniformer_mm.UniFormerLight
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert cfg.model.backbone.pop("drop_path_rate", 0.0) == drop_path_rate
    assert cfg.model.backbone == {
        "type": "mmengine.UniFormerLight",
        "arch": arch,
        "output_norm": "batch",
        "class_token": True,
    }
    assert type(model.head).__name__ == "ClassTokenHead"
    assert model.head.num_classes == 1000
    assert model.neck is None
    loss = model.head.loss_module
    assert (loss.label_smooth_val, loss.mode, loss.reduction) == (0.1, "original", "mean")
    assert cfg.model.train_cfg.augments == [
        {"type": "Mixup", "alpha": 0.8},
        {"type": "CutMix", "alpha": 1.0},
    ]


@pytest.mark.parametrize("name", LIGHT)
def test_light_optimizer(name):
    *_, rate, weight_decay = LIGHT[name]
    cfg, model = read(name), build(name)
    assert cfg.optim_wrapper.type == "OptimWrapper", "single precision"
    assert "clip_grad" not in cfg.optim_wrapper
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    assert isinstance(optimizer, torch.optim.AdamW)
    groups = optimizer.param_groups
    assert {(g["lr"], g["betas"], g["eps"]) for g in groups} == {(rate, (0.9, 0.999), 1e-8)}
    decay = {id(p): g["weight_decay"] for g in groups for p in g["params"]}
    for key, parameter in model.named_parameters():
        exempt = parameter.ndim == 1 or key == "backbone.cls_token"
        assert decay[id(parameter)] == (0.0 if exempt else weight_decay), key
    schedule = (cfg.param_scheduler, cfg.train_cfg)
    first = read("uniformer_xxs_128_in1k")
    assert schedule == (first.param_scheduler, first.train_cfg), "its rates are checked above"
    (hook,) = cfg.custom_hooks
    assert (hook.type, hook.momentum, hook.update_buffers) == ("EMAHook", 1e-4, True)
    assert hook.get("evaluate_on_ema", True)
    assert hook.evaluate_on_origin


@pytest.mark.parametrize("name", LIGHT)
def test_light_batch_and_data(name):
    _, arch, size, resized, *_ = LIGHT[name]
    cfg = read(name)
    loader = cfg.train_dataloader
    assert (loader.batch_size, cfg.auto_scale_lr.base_batch_size) == (512, 4096)
    assert loader.drop_last
    assert loader.sampler.type == "DefaultSampler", "no repeated augmentation"
    assert cfg.val_dataloader.batch_size == 768
    assert (
        cfg.data_preprocessor.mean,
        cfg.data_preprocessor.std,
        cfg.data_preprocessor.to_rgb,
    ) == (
        [123.675, 116.28, 103.53],
        [58.395, 57.12, 57.375],
        True,
    )
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        pipeline = steps(loader.dataset.pipeline)
        resize = pipeline["ResizeEdge"]
        assert (resize.scale, resize.edge, resize.interpolation) == (resized, "short", "bicubic")
        assert pipeline["CenterCrop"].crop_size == size
    pipeline = cfg.train_dataloader.dataset.pipeline
    augment = "AutoAugment" if arch == "xxs" else "RandAugment"
    assert [step.type for step in pipeline] == [
        "LoadImageFromFile",
        "RandomResizedCrop",
        "RandomFlip",
        augment,
        "RandomErasing",
        "PackInputs",
    ]
    crop, flip, augment, erasing = pipeline[1:5]
    assert (crop.scale, crop.interpolation) == (size, "bicubic")
    assert not {"crop_ratio_range", "aspect_ratio_range"} & set(crop), "mmpretrain's are timm's"
    assert (flip.prob, flip.direction) == (0.5, "horizontal")
    assert (erasing.erase_prob, erasing.mode) == (0.25, "rand")
    assert (erasing.min_area_ratio, erasing.max_area_ratio) == (0.02, 1 / 3)
    assert augment.hparams == {"pad_val": [104, 116, 124], "interpolation": "bicubic"}
    if arch == "xs":
        assert augment.policies == "timm_increasing"
        assert (augment.num_policies, augment.total_level) == (2, 10)
        assert (augment.magnitude_level, augment.magnitude_std) == (9, 0.5)


def test_auto_augment_has_the_policies_of_timms_v0():
    """In the units of mmpretrain: one pair of each kind of operation."""
    augment = steps(read("uniformer_xxs_128_in1k").train_dataloader.dataset.pipeline)["AutoAugment"]
    policies = [[dict(operation) for operation in pair] for pair in augment.policies]
    assert len(policies) == 25
    assert policies[0] == [
        {"type": "Equalize", "prob": 0.8},
        {"type": "Shear", "magnitude": pytest.approx(0.12), "direction": "vertical", "prob": 0.8},
    ]
    assert policies[1][0] == {
        "type": "ColorTransform",
        "magnitude": pytest.approx(1.72 - 1),  # to which mmpretrain adds 1
        "random_negative_prob": 0.0,
        "prob": 0.4,
    }
    assert policies[6][1] == {"type": "SolarizeAdd", "magnitude": 33, "prob": 0.8}
    assert policies[9] == [
        {"type": "Invert", "prob": 0.4},
        {"type": "Rotate", "angle": 0, "prob": 0.6},
    ]
    assert policies[12] == [
        {"type": "Posterize", "bits": 2, "prob": 0.4},
        {"type": "AutoContrast", "prob": 0.4},
    ]
    assert policies[15][0] == {"type": "Rotate", "angle": pytest.approx(21), "prob": 1.0}
    assert policies[15][1] == {
        "type": "Translate",
        "magnitude": pytest.approx(0.405),
        "direction": "vertical",
        "prob": 0.8,
    }
    assert policies[22][1] == {"type": "Solarize", "thr": 256, "prob": 0.6}
    assert policies[24][1] == {"type": "Rotate", "angle": pytest.approx(15), "prob": 0.4}


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("uniformer_s_in1k", 224),
        ("uniformer_s_tl_384_in1k", 384),
        ("uniformer_xxs_128_in1k", 128),
        ("uniformer_xs_192_in1k", 192),
    ],
)
def test_pipelines_run(name, size, tmp_path):
    """Every transform exists and takes what the config gives it, at full size."""
    cfg = read(name)
    original = read(name)
    task_of(cfg).use_synthetic_data(cfg, 4, tmp_path)
    for loader, full in (
        (cfg.train_dataloader, original.train_dataloader),
        (cfg.val_dataloader, original.val_dataloader),
    ):
        dataset = DATASETS.build({**loader.dataset, "pipeline": full.dataset.pipeline})
        for _ in range(4):
            assert dataset[0]["inputs"].shape == (3, size, size)
