"""Classification configs hold the values of the published experiments (image_classification)."""

import math

import pytest
import torch
from zoo_configs import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    build,
    datasets,
    entry,
    names,
    optimizer_and_decays,
    rates,
    read,
    transforms,
)

from uniformer_mm.models import ARCHS
from uniformer_mm.tasks import task_of

pytest.importorskip("mmpretrain")
from mmpretrain.registry import DATASETS

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


RAND_AUGMENT = {
    "type": "RandAugment",
    "policies": "timm_increasing",
    "num_policies": 2,
    "total_level": 10,
    "magnitude_level": 9,
    "magnitude_std": 0.5,
    "hparams": {"pad_val": [104, 116, 124], "interpolation": "bicubic"},
}
LOSS = {"type": "LabelSmoothLoss", "label_smooth_val": 0.1, "mode": "original"}
MIXES = [{"type": "Mixup", "alpha": 0.8}, {"type": "CutMix", "alpha": 1.0}]


def train_steps(name):
    found = transforms(read("cls", name).train_dataloader.dataset.pipeline)
    return {kind: {k: v for k, v in s.items() if k != "_scope_"} for kind, s in found.items()}


def test_every_config_is_in_a_table():
    assert names("cls") == {*PUBLISHED, *LIGHT}


@pytest.mark.parametrize("name", PUBLISHED)
def test_model(name):
    parameters, arch, head_dim, drop_path_rate, layer_scale, _ = PUBLISHED[name]
    cfg = read("cls", name)
    settings = {"head_dim": 64, "layer_scale": "none", **ARCHS[arch], **cfg.model.backbone}
    assert entry("cls", name).parameters == parameters
    assert (cfg.model.type, settings["type"]) == ("ImageClassifier", "mmengine.UniFormer")
    assert settings["arch"] == arch
    assert settings["head_dim"] == head_dim
    assert settings["drop_path_rate"] == drop_path_rate
    assert settings["layer_scale"] == layer_scale
    assert "init_cfg" not in settings
    labeled = name in TOKEN_LABELING
    assert cfg.model.head.type == ("TokenLabelingHead" if labeled else "LinearClsHead")
    assert ("neck" in cfg.model) == (not labeled)
    assert cfg.model.head.loss == LOSS
    if labeled:
        assert "train_cfg" not in cfg.model
        assert cfg.data_preprocessor.type == "MixTokenDataPreprocessor"
    else:
        assert cfg.model.train_cfg.augments == MIXES


@pytest.mark.parametrize("name", LIGHT)
def test_lightweight_model(name):
    parameters, arch, *_, drop_path_rate, _, _ = LIGHT[name]
    model = read("cls", name).model
    assert entry("cls", name).parameters == parameters
    assert model.backbone.pop("drop_path_rate", 0.0) == drop_path_rate
    assert model.backbone == {
        "type": "mmengine.UniFormerLight",
        "arch": arch,
        "output_norm": "batch",
        "class_token": True,
    }
    assert (model.type, model.head.type) == ("ImageClassifier", "ClassTokenHead")
    assert (model.head.num_classes, model.head.loss) == (1000, LOSS)
    assert "neck" not in model
    assert model.train_cfg.augments == MIXES


@pytest.mark.parametrize("name", [*PUBLISHED, *LIGHT])
def test_optimizer_and_schedule(name):
    cfg, wrapper = read("cls", name), read("cls", name).optim_wrapper
    assert "clip_grad" not in wrapper
    *_, rate, weight_decay = LIGHT[name] if name in LIGHT else (*PUBLISHED[name], 0.05)
    if name in TOKEN_LABELING_384:
        weight_decay = 1e-8
        assert (cfg.param_scheduler, cfg.train_cfg.max_epochs, cfg.custom_hooks) == (None, 60, [])
        assert cfg.load_from == f"work_dirs/{name.replace('384', '224')}/epoch_310.pth"
    else:
        first = read("cls", next(n for n in SCHEDULES if kind(n) == kind(name)))
        for section in ("param_scheduler", "train_cfg", "custom_hooks"):
            assert cfg[section] == first[section], "tested below"
    assert (wrapper.optimizer.lr, wrapper.optimizer.weight_decay) == (rate, weight_decay)
    precision = ("OptimWrapper", None) if name in LIGHT else ("AmpOptimWrapper", "dynamic")
    assert (wrapper.type, wrapper.get("loss_scale")) == precision


# name: (learning rate, epochs of the warm-up, of the cosine and of all)
SCHEDULES = {
    "uniformer_s_in1k": (1e-3, 5, 300, 300),
    "uniformer_s_tl_224_in1k": (1.6e-3, 5, 300, 310),
    "uniformer_xxs_128_in1k": (3.2e-3, 30, 600, 600),
}


def kind(name):
    return next(i for i, table in enumerate((PLAIN, TOKEN_LABELING, LIGHT)) if name in table)


@pytest.mark.parametrize("name", SCHEDULES)
def test_learning_rate_is_that_of_timm(name):
    """Per epoch. Except for token labeling, the schedule of DeiT's loop is an epoch late."""
    rate, warmup, cosine, epochs = SCHEDULES[name]

    def timm(epoch):
        if epoch < warmup:
            return 1e-6 + epoch * (rate - 1e-6) / warmup
        if epoch < cosine:
            return 1e-5 + 0.5 * (rate - 1e-5) * (1 + math.cos(math.pi * epoch / cosine))
        return 1e-5

    cfg = read("cls", name)
    assert (cfg.train_cfg.by_epoch, cfg.train_cfg.max_epochs) == (True, epochs)
    late = 0 if name in TOKEN_LABELING else 1
    expected = [timm(max(epoch - late, 0)) for epoch in range(epochs)]
    assert rates(cfg.param_scheduler, epochs, rate) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "momentum", "evaluated"),
    [
        ("uniformer_s_in1k", 4e-5, (False, True)),
        ("uniformer_s_tl_224_in1k", 8e-5, (True, False)),
        ("uniformer_xxs_128_in1k", 1e-4, (True, True)),
    ],
)
def test_moving_average(name, momentum, evaluated):
    """What is evaluated: the moving average, the model itself."""
    (hook,) = read("cls", name).custom_hooks
    assert (hook.type, hook.momentum, hook.update_buffers) == ("EMAHook", momentum, True)
    assert (hook.get("evaluate_on_ema", True), hook.get("evaluate_on_origin", False)) == evaluated


@pytest.mark.parametrize(
    ("name", "weight_decay"),
    [
        ("uniformer_s_in1k", 0.05),
        ("uniformer_l_ls_tl_384_in1k", 1e-8),
        ("uniformer_xxs_128_in1k", 0.1),
    ],
)
def test_one_dimensional_parameters_and_class_tokens_do_not_decay(name, weight_decay):
    cfg = read("cls", name)
    model = build(cfg)
    optimizer, decays = optimizer_and_decays(model, cfg)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {(g["betas"], g["eps"]) for g in optimizer.param_groups} == {((0.9, 0.999), 1e-8)}
    for key, parameter in model.named_parameters():
        exempt = parameter.ndim == 1 or key == "backbone.cls_token"
        assert decays[key] == (0.0 if exempt else weight_decay), key
    if "l_ls" in name:  # of shape (1, C, 1, 1) and (C,)
        assert decays["backbone.blocks1.0.gamma_1"] == weight_decay
        assert decays["backbone.blocks3.0.gamma_1"] == 0.0


@pytest.mark.parametrize("name", [*PUBLISHED, *LIGHT])
def test_batch_and_data(name):
    cfg = read("cls", name)
    loader = cfg.train_dataloader
    per_gpu, size, resized = 128, 224, 248
    validated = per_gpu
    if name in TOKEN_LABELING_384:
        validated = per_gpu = 32 if "l_ls" in name else 64
        size, resized = 384, 426
    elif name in PLAIN:
        validated, resized = 192, 256
    elif name in LIGHT:
        per_gpu, validated = 512, 768
        size, resized = LIGHT[name][2:4]
    assert (loader.batch_size, cfg.auto_scale_lr.base_batch_size) == (per_gpu, 8 * per_gpu)
    assert cfg.val_dataloader.batch_size == validated
    assert loader.drop_last
    assert loader.sampler.type == ("RepeatAugSampler" if name in PLAIN else "DefaultSampler")
    assert (loader.dataset.type, loader.dataset.data_root) == ("ImageNet", "data/imagenet")
    processor = cfg.data_preprocessor
    assert (processor.mean, processor.std, processor.to_rgb) == (IMAGENET_MEAN, IMAGENET_STD, True)
    assert cfg.val_evaluator.type == "Accuracy"
    for split in ("val", "test"):
        steps = transforms(datasets(cfg)[split].pipeline)
        resize = steps["ResizeEdge"]
        assert (resize.scale, resize.edge) == (resized, "short")
        assert (resize.interpolation, resize.backend) == ("bicubic", "pillow")
        assert steps["CenterCrop"].crop_size == size
    steps = train_steps(name)
    assert steps["RandomResizedCrop"] == {
        "type": "RandomResizedCrop",
        "scale": size,
        "backend": "pillow",
        "interpolation": "bicubic",
    }  # mmpretrain's defaults are an area of 0.08 to 1 and an aspect ratio of 3/4 to 4/3
    assert (steps["RandomFlip"]["prob"], steps["RandomFlip"]["direction"]) == (0.5, "horizontal")
    erasing = steps["RandomErasing"]
    assert (erasing["erase_prob"], erasing["mode"]) == (0.25, "rand")
    assert (erasing["min_area_ratio"], erasing["max_area_ratio"]) == (0.02, 1 / 3)
    if name.startswith("uniformer_xxs"):
        assert steps["AutoAugment"]["hparams"] == RAND_AUGMENT["hparams"]
    else:
        assert steps["RandAugment"] == RAND_AUGMENT
    if name in TOKEN_LABELING:
        branches = next(s.transforms for s in loader.dataset.pipeline if s.type == "RandomChoice")
        for (augment, crop), mode in zip(branches, ("bilinear", "bicubic"), strict=True):
            assert (augment.type, augment.hparams.interpolation) == ("RandAugment", mode)
            assert (crop.scale, crop.interpolation) == (size, mode)
    else:
        order = ["LoadImageFromFile", "RandomResizedCrop", "RandomFlip"]
        order += ["AutoAugment" if "xxs" in name else "RandAugment", "RandomErasing", "PackInputs"]
        assert [step.type for step in loader.dataset.pipeline] == order


# pair, operation of it: type, probability, other settings; one of each kind of operation
POLICIES_OF_V0 = {
    (0, 0): ("Equalize", 0.8, {}),
    (0, 1): ("Shear", 0.8, {"magnitude": 0.12, "direction": "vertical"}),
    # mmpretrain adds 1 to the magnitude.
    (1, 0): ("ColorTransform", 0.4, {"magnitude": 1.72 - 1, "random_negative_prob": 0.0}),
    (6, 1): ("SolarizeAdd", 0.8, {"magnitude": 33}),
    (9, 0): ("Invert", 0.4, {}),
    (9, 1): ("Rotate", 0.6, {"angle": 0}),
    (12, 0): ("Posterize", 0.4, {"bits": 2}),
    (12, 1): ("AutoContrast", 0.4, {}),
    (15, 0): ("Rotate", 1.0, {"angle": 21}),
    (15, 1): ("Translate", 0.8, {"magnitude": 0.405, "direction": "vertical"}),
    (22, 1): ("Solarize", 0.6, {"thr": 256}),
    (24, 1): ("Rotate", 0.4, {"angle": 15}),
}


def test_auto_augment_has_the_policies_of_timms_v0():
    policies = train_steps("uniformer_xxs_128_in1k")["AutoAugment"]["policies"]
    assert len(policies) == 25
    for (pair, place), (kind, probability, settings) in POLICIES_OF_V0.items():
        operation = dict(policies[pair][place])
        assert (operation.pop("type"), operation.pop("prob")) == (kind, probability)
        assert operation.keys() == settings.keys()
        for key, value in settings.items():
            assert operation[key] == (value if isinstance(value, str) else pytest.approx(value))


@pytest.mark.parametrize(
    ("name", "size"), [("s", 224), ("s_tl_384", 384), ("xxs_128", 128), ("xs_192", 192)]
)
def test_pipelines_run(name, size, tmp_path):
    """Every transform exists and takes what the config gives it, at full size."""
    cfg, original = (read("cls", f"uniformer_{name}_in1k") for _ in range(2))
    task_of(cfg).use_synthetic_data(cfg, 4, tmp_path)
    for split in ("train", "val"):
        pipeline = datasets(original)[split].pipeline
        dataset = DATASETS.build({**datasets(cfg)[split], "pipeline": pipeline})
        assert {dataset[0]["inputs"].shape for _ in range(4)} == {(3, size, size)}
