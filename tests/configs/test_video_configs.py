"""Video configs hold the values of the published experiments (video_classification/exp/*)."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import MODELS
from zoo_configs import build, datasets, names, optimizer_and_decays, read, transforms

import uniformer_mm
from uniformer_mm.datasets.media import Clip
from uniformer_mm.tasks import task_of
from uniformer_mm.tasks.mmaction import UNSUITED
from uniformer_mm.tasks.short_run import scale_sizes

K400_S = "uniformer-small_imagenet1k-pre_16x4x1_kinetics400-rgb_20221219-c630a037.pth"
K400_B = "uniformer_base_k400_16x4.pth"
K600 = "uniformer_{}_k600_16x4.pth"


class Recipe(NamedTuple):
    """What the authors' run scripts and configs come to."""

    frames: int
    interval: int | None  # None: one frame per segment
    lr: float
    drop_path_rate: float
    epochs: int
    videos_per_gpu: int
    gpus: int = 8


# The interval of two frames, learning rate, drop path rate, epochs and videos per GPU.
PUBLISHED = {
    "uniformer_s_8x8_k400": Recipe(8, 8, 4e-4, 0.1, 100, 16),
    "uniformer_s_16x4_k400": Recipe(16, 4, 1e-4, 0.1, 110, 4),
    "uniformer_s_16x8_k400": Recipe(16, 8, 1e-4, 0.1, 110, 4),
    "uniformer_s_32x4_k400": Recipe(32, 4, 1e-4, 0.1, 110, 4),
    "uniformer_b_8x8_k400": Recipe(8, 8, 2e-4, 0.3, 100, 8),
    "uniformer_b_16x4_k400": Recipe(16, 4, 1.25e-4, 0.3, 110, 5),
    "uniformer_b_16x8_k400": Recipe(16, 8, 1.25e-4, 0.3, 110, 5),
    "uniformer_b_32x4_k400": Recipe(32, 4, 1e-4, 0.3, 110, 4),
    "uniformer_s_16x4_k600": Recipe(16, 4, 3e-4, 0.1, 110, 12),
    "uniformer_s_16x8_k600": Recipe(16, 8, 1e-4, 0.1, 110, 4),
    "uniformer_b_16x4_k600": Recipe(16, 4, 1.25e-4, 0.3, 110, 5),
    "uniformer_b_16x8_k600": Recipe(16, 8, 1.25e-4, 0.3, 110, 4),
    "uniformer_b_32x4_k600": Recipe(32, 4, 4e-4, 0.3, 110, 4, gpus=32),
    "uniformer_b_32x4_k600_1node": Recipe(32, 4, 1e-4, 0.3, 110, 4),
    "uniformer_s_16_sthv1_prek400": Recipe(16, None, 2e-4, 0.2, 60, 4),
    "uniformer_s_16_sthv1_prek600": Recipe(16, None, 2e-4, 0.2, 60, 4),
    "uniformer_s_32_sthv1_prek400": Recipe(32, None, 2e-4, 0.2, 60, 4),
    "uniformer_s_32_sthv1_prek600": Recipe(32, None, 2e-4, 0.3, 60, 4),
    "uniformer_b_16_sthv1_prek400": Recipe(16, None, 2.5e-4, 0.6, 60, 5),
    "uniformer_b_16_sthv1_prek600": Recipe(16, None, 2.5e-4, 0.5, 60, 5),
    "uniformer_b_32_sthv1_prek400": Recipe(32, None, 2e-4, 0.6, 60, 4),
    "uniformer_b_32_sthv1_prek600": Recipe(32, None, 2e-4, 0.6, 60, 4),
    "uniformer_s_16_sthv2_prek400": Recipe(16, None, 2e-4, 0.3, 50, 4),
    "uniformer_s_16_sthv2_prek600": Recipe(16, None, 2e-4, 0.3, 50, 4),
    "uniformer_s_32_sthv2_prek400": Recipe(32, None, 2e-4, 0.3, 50, 4),
    "uniformer_s_32_sthv2_prek600": Recipe(32, None, 2e-4, 0.3, 50, 4),
    "uniformer_b_16_sthv2_prek400": Recipe(16, None, 2.5e-4, 0.4, 50, 5),
    "uniformer_b_16_sthv2_prek600": Recipe(16, None, 2.5e-4, 0.5, 50, 5),
    "uniformer_b_32_sthv2_prek400": Recipe(32, None, 2e-4, 0.5, 50, 4),
    "uniformer_b_32_sthv2_prek600": Recipe(32, None, 2e-4, 0.5, 50, 4),
    "uniformer_s_16x4_ucf101": Recipe(16, 4, 5e-5, 0.2, 25, 16),
    "uniformer_s_16x4_hmdb51": Recipe(16, 4, 5e-5, 0.2, 25, 16),
}


class LightRecipe(NamedTuple):
    """The same for the lightweight models, on 256 videos but for XS: on eight GPUs or four."""

    frames: int
    pixels: int
    lr: float
    videos_per_gpu: int
    augment: str
    variant: str  # attention in single precision, and with layer scale as well
    weight_decay: float = 0.1
    drop_path_rate: float = 0.05
    val_interval: int = 1


LIGHT = {
    "uniformer_xxs_4x128_k400": LightRecipe(4, 128, 4e-4, 32, "rand", "ls_fp32"),
    "uniformer_xxs_4x160_k400": LightRecipe(4, 160, 4e-4, 64, "rand", "ls_fp32"),
    "uniformer_xxs_8x128_k400": LightRecipe(8, 128, 4e-4, 64, "rand", "ls_fp32"),
    "uniformer_xxs_8x160_k400": LightRecipe(8, 160, 4e-4, 64, "rand-m5-n2-mstd0.25", "fp32"),
    "uniformer_xxs_16x128_k400": LightRecipe(16, 128, 8e-4, 32, "rand-m5-n2-mstd0.25", "fp32"),
    "uniformer_xxs_16x160_k400": LightRecipe(
        16, 160, 8e-4, 32, "rand-m5-n2-mstd0.25", "fp32", val_interval=5
    ),
    "uniformer_xxs_32x160_k400": LightRecipe(32, 160, 8e-4, 32, "rand-m5-n2-mstd0.25", ""),
    "uniformer_xs_32x192_k400": LightRecipe(
        32, 192, 4e-4, 16, "rand-m7-n4-mstd0.5-inc1", "fp32", weight_decay=0.05, drop_path_rate=0.1
    ),
}
AUGMENT = {  # magnitude, number of operations, deviation, increasing
    "rand": (10, 2, 0.0, False),
    "rand-m5-n2-mstd0.25": (5, 2, 0.25, False),
    "rand-m7-n4-mstd0.5-inc1": (7, 4, 0.5, True),
}
AUGMENT_KEYS = ("magnitude", "num_ops", "magnitude_std", "increasing")
CLASSES = {"k400": 400, "k600": 600, "sthv1": 174, "sthv2": 174, "ucf101": 101, "hmdb51": 51}
BGR = ("sthv1", "sthv2", "hmdb51")
FOLDERS = {"k400": "kinetics400", "k600": "kinetics600"}
TSN = ("tsn_uniformer_s_k400", "tsn_uniformer_b_k400")


@pytest.fixture(params=PUBLISHED, scope="module")
def case(request):
    """Config, recipe, arch and dataset."""
    _, arch, *_ = request.param.split("_")
    data = next(data for data in CLASSES if data in request.param.split("_"))
    arch = {"s": "small", "b": "base"}[arch]
    return read("video", request.param), PUBLISHED[request.param], arch, data


def test_every_config_is_in_a_table():
    assert names("video") == {*PUBLISHED, *LIGHT, *TSN, "fast_rcnn_uniformer_s_16x4_ava21"}


def test_model(case):
    cfg, recipe, arch, data = case
    backbone, head = cfg.model.backbone, cfg.model.cls_head
    spare = data == "hmdb51"  # the authors' model has 101 outputs for it
    assert (cfg.model.type, head.type) == (
        "Recognizer3D",
        "SpareOutputsHead" if spare else "I3DHead",
    )
    assert head.get("spare_outputs", 0) == (50 if spare else 0)
    assert (backbone.type, backbone.arch, backbone.dims) == ("mmengine.UniFormer", arch, 3)
    assert backbone.drop_path_rate == recipe.drop_path_rate
    assert (head.num_classes, head.dropout_ratio, head.init_std) == (CLASSES[data], 0.0, 0.02)
    assert (head.label_smooth_eps, head.average_clips) == (0.1, "score")
    processor = cfg.model.data_preprocessor
    assert (processor.mean, processor.std) == ([0.45 * 255] * 3, [0.225 * 255] * 3)
    assert processor.format_shape == "NCTHW"
    for split in ("train", "val", "test"):
        (opening, *_) = cfg[f"{split}_dataloader"].dataset.pipeline
        assert opening.get("fps") == (30 if data == "sthv2" else None)
    assert processor.get("to_rgb", False) == (data in BGR), "decoders give RGB"
    assert processor.blending == {
        "type": "mmengine.MixClips",
        "num_classes": CLASSES[data],
        "mixup_alpha": 0.8,
        "cutmix_alpha": 1.0,
        "cutmix_prob": 0.5,
    }


@pytest.mark.parametrize("name", [*PUBLISHED, *LIGHT, *TSN])
def test_a_red_clip_is_red_for_the_model_in_the_order_of_its_authors(name):
    """In training, validation, testing and inference: BGR where they read JPEGs with OpenCV."""
    cfg = read("video", name)
    task = task_of(cfg)
    red = np.zeros((4, 32, 32, 3), np.uint8)
    red[..., 2] = 255  # of a user, who has BGR
    (entry,) = task.pipeline_inputs(Clip("red", images=red), {})
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    channel = {"RGB": 0, "BGR": 2}[task.channel_order(preprocessor)]
    assert channel == (2 if name.split("_")[3] in BGR else 0)
    for split, dataset in datasets(cfg).items():
        pipeline = task.inference_pipeline(
            Config({"test_dataloader": {"dataset": {"pipeline": dataset.pipeline}}})
        )
        pipeline = [step for step in pipeline if step["type"] not in UNSUITED]
        scale_sizes(pipeline, 1 / 7)
        sample = Compose(pipeline)({**entry, "label": 0})
        batch = {"inputs": [sample["inputs"]] * 2, "data_samples": [sample["data_samples"]] * 2}
        inputs = preprocessor(batch, training=split == "train")["inputs"]
        brightness = inputs.movedim(2, 0).flatten(1)
        assert [bool((values > 0).all()) for values in brightness] == [
            index == channel for index in range(3)
        ]


def test_weights_to_start_from(case):
    cfg, _, arch, data = case
    name = cfg.filename
    source = cfg.model.backbone.init_cfg.checkpoint.rpartition("/")
    if data in FOLDERS:
        assert source[2] == f"uniformer_{arch}_in1k.pth"
    elif "prek600" in name:
        assert source == ("weights", "/", K600.format(arch))
    else:
        assert source[2] == (K400_S if arch == "small" else K400_B)
        assert source[0].startswith("https://")


def test_batch_and_schedule(case):
    cfg, recipe, _, data = case
    assert cfg.train_dataloader.batch_size == recipe.videos_per_gpu
    assert cfg.train_dataloader.drop_last
    assert cfg.auto_scale_lr.base_batch_size == recipe.videos_per_gpu * recipe.gpus
    assert cfg.train_cfg.max_epochs == recipe.epochs
    assert cfg.train_cfg.val_interval == (1 if data in ("ucf101", "hmdb51") else 5)
    ends = 4e-6 if recipe.gpus == 32 else 1e-6
    assert cfg.param_scheduler == {
        "type": "mmengine.WarmupCosineLR",
        "T_max": recipe.epochs,
        "warmup": 10 if data in FOLDERS else 5,
        "warmup_lr": ends,
        "eta_min": ends,
        "after_warmup": True,
        "convert_to_iter_based": True,
    }
    wrapper = cfg.optim_wrapper
    assert (wrapper.type, wrapper.loss_scale) == ("AmpOptimWrapper", "dynamic")
    assert wrapper.clip_grad == {"max_norm": 20}
    optimizer = {"type": "AdamW", "lr": recipe.lr, "betas": (0.9, 0.999), "weight_decay": 0.05}
    assert wrapper.optimizer == optimizer


@pytest.mark.parametrize("name", ["uniformer_s_8x8_k400", TSN[0]])
def test_nothing_one_dimensional_decays(name):
    cfg = read("video", name)
    model = build(cfg)
    optimizer, decays = optimizer_and_decays(model, cfg)
    assert {group["lr"] for group in optimizer.param_groups} == {cfg.optim_wrapper.optimizer.lr}
    one_dimensional = {key for key, parameter in model.named_parameters() if parameter.dim() == 1}
    assert decays == {key: 0.0 if key in one_dimensional else 0.05 for key in decays}
    assert decays["backbone.blocks1.0.pos_embed.weight"] == 0.05
    assert decays["cls_head.fc_cls.bias"] == 0.0


def test_frames_and_views(case):
    cfg, recipe, _, data = case
    for split, dataset in datasets(cfg).items():
        sampling = dataset.pipeline[1]
        assert sampling.clip_len == recipe.frames
        assert sampling.get("test_mode", False) == (split != "train")
        if recipe.interval is None:
            assert sampling.type == "UniformSample"
        else:
            assert sampling.type == "mmengine.SampleWindow"
            assert sampling.frame_interval == recipe.interval
    views = {"k400": (4, 1), "k600": (4, 1), "ucf101": (5, 3), "hmdb51": (5, 3)}
    clips, crops = views.get(data, (1, 3))
    assert cfg.test_dataloader.dataset.pipeline[1].get("num_clips", 1) == clips
    crop = {1: "CenterCrop", 3: "ThreeCrop"}[crops]
    assert transforms(cfg.test_dataloader.dataset.pipeline)[crop].crop_size == 224
    assert transforms(cfg.val_dataloader.dataset.pipeline)["CenterCrop"].crop_size == 224
    assert "num_clips" not in cfg.val_dataloader.dataset.pipeline[1]
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        assert transforms(loader.dataset.pipeline)["Resize"].scale == (-1, 224)
        assert len(loader.dataset.pipeline) == 7


def test_augmentation(case):
    cfg, _, _, data = case
    pipeline = transforms(cfg.train_dataloader.dataset.pipeline)
    fine_tuned = data in ("ucf101", "hmdb51")
    augment = dict(pipeline["mmengine.ClipRandAugment"], type=None)
    assert augment == {
        "type": None,
        "magnitude": 5 if fine_tuned else 7,
        "num_ops": 2 if fine_tuned else 4,
        "magnitude_std": 0.25 if fine_tuned else 0.5,
        **({"increasing": False} if fine_tuned else {}),
        **({"as_bgr": True} if data in BGR else {}),
    }
    crop = pipeline["RandomResizedCrop"]
    assert (crop.area_range, crop.aspect_ratio_range) == ((0.08, 1.0), (0.75, 1.3333))
    resize = pipeline["Resize"]
    assert (resize.scale, resize.keep_ratio) == ((224, 224), False)
    assert ("Flip" in pipeline) == (not data.startswith("sth")), "left is not right there"
    assert pipeline.get("Flip", {}).get("flip_ratio", 0.5) == 0.5
    erasing = pipeline["RandomErasing"]
    assert (erasing.erase_prob, erasing.mode) == (0.25, "rand")
    assert (erasing.fill_color, erasing.fill_std) == (114.75, 57.375)
    order = [name.removeprefix("mmengine.") for name in pipeline if name != "Flip"]
    assert order[2:7] == [
        *("VideoReaderDecode", "ClipRandAugment", "RandomResizedCrop", "Resize", "RandomErasing")
    ]


def test_data(case):
    cfg, _, _, data = case
    name = FOLDERS.get(data, data)
    split = "_split_1" if data in ("ucf101", "hmdb51") else "_list"
    for key, dataset in datasets(cfg).items():
        part = "train" if key == "train" else "val"
        assert dataset.data_root == f"data/{name}"
        assert dataset.ann_file == f"{name}_{part}{split}_videos.txt"
        folder = f"videos_{part}" if data in FOLDERS else "videos"
        assert dataset.data_prefix == {"video": folder}
        assert dataset.num_classes == CLASSES[data]
        assert cfg[f"{key}_pipeline"] == dataset.pipeline, "what mmaction's inferencer reads"
    train = cfg.train_dataloader
    assert train.dataset.type == "mmengine.CheckedRepeatAugDataset"
    assert (train.dataset.num_repeats, train.dataset.sample_once) == (2, True)
    assert train.collate_fn.type == "repeat_pseudo_collate"
    assert cfg.val_evaluator == cfg.test_evaluator == {"type": "AccMetric"}


@pytest.fixture(params=LIGHT, scope="module")
def light(request):
    """Config, recipe and arch of a lightweight model."""
    return read("video", request.param), LIGHT[request.param], request.param.split("_")[1]


def test_light_model(light):
    cfg, recipe, arch = light
    model = build(cfg)
    assert (type(model).__name__, type(model.cls_head).__name__) == (
        "Recognizer3D",
        "ClassTokenVideoHead",
    )
    assert type(model.backbone) is uniformer_mm.UniFormerLight
    source = cfg.model.backbone.init_cfg.checkpoint.rpartition("/")
    assert source[2] == f"uniformer_{arch}_{recipe.pixels}_in1k.pth"
    assert source[0].startswith("https://" if recipe.pixels == 160 else "weights")
    scaled = "ls" in recipe.variant
    assert cfg.model.backbone.init_cfg.get("may_miss") == (
        ["gamma_1", "gamma_2"] if scaled else None
    )
    assert {k: v for k, v in cfg.model.backbone.items() if k != "init_cfg"} == {
        "type": "mmengine.UniFormerLight",
        "arch": arch,
        "dims": 3,
        "class_token": True,
        "drop_path_rate": recipe.drop_path_rate,
        **({"fp32_attention": True} if "fp32" in recipe.variant else {}),
        **({"layer_scale": "all", "layer_scale_init": 0.1} if scaled else {}),
    }
    head = cfg.model.cls_head
    assert (head.num_classes, head.dropout_ratio, head.init_std) == (400, 0.0, 0.02)
    assert (head.label_smooth_eps, head.average_clips) == (0.1, "score")
    assert (
        cfg.model.data_preprocessor == read("video", "uniformer_s_8x8_k400").model.data_preprocessor
    )


def test_light_batch_and_schedule(light):
    cfg, recipe, arch = light
    loader = cfg.train_dataloader
    assert (loader.batch_size, loader.drop_last) == (recipe.videos_per_gpu, True)
    assert cfg.auto_scale_lr.base_batch_size == (128 if arch == "xs" else 256)
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (110, recipe.val_interval)
    assert cfg.default_hooks.checkpoint.save_best == "auto", "the best is what is published"
    small = read("video", "uniformer_s_16x4_k400")
    assert cfg.param_scheduler == small.param_scheduler, "tested above"
    # The class token decays, unlike in images.
    small.optim_wrapper.optimizer.update(lr=recipe.lr, weight_decay=recipe.weight_decay)
    assert cfg.optim_wrapper == small.optim_wrapper


def test_light_data(light):
    """One view; but for sampling and sizes as in the S model's config, which is tested above."""
    cfg, recipe, _ = light
    small = read("video", "uniformer_s_8x8_k400")
    pixels = recipe.pixels
    for key, dataset in datasets(cfg).items():
        expected = datasets(small)["train" if key == "train" else "val"].to_dict()
        sampling = {"type": "UniformSample", "clip_len": recipe.frames}
        expected["pipeline"][1] = sampling
        resize = {"type": "Resize", "scale": (pixels, pixels), "keep_ratio": False}
        if key == "train":
            expected["pipeline"][3].update(zip(AUGMENT_KEYS, AUGMENT[recipe.augment], strict=True))
            expected["pipeline"][5] = resize
        else:
            sampling["test_mode"] = True
            expected["pipeline"][3] = {"type": "Resize", "scale": (-1, pixels)}
            expected["pipeline"][4] = {"type": "CenterCrop", "crop_size": pixels}
        assert dataset == expected
        assert cfg[f"{key}_pipeline"] == dataset.pipeline, "what mmaction's inferencer reads"


@pytest.mark.parametrize(("name", "arch"), zip(TSN, ("small", "base"), strict=True))
def test_tsn_is_the_image_backbone_per_frame(name, arch):
    cfg = read("video", name)
    model = build(cfg)
    assert type(model).__name__ == "Recognizer2D"
    assert type(model.backbone) is uniformer_mm.UniFormer
    assert (model.backbone.dims, model.backbone.output_norm) == (2, "batch")
    assert (type(model.cls_head).__name__, model.cls_head.in_channels) == ("TSNHead", 512)
    assert type(model.cls_head.consensus).__name__ == "AvgConsensus"
    assert cfg.model.backbone.init_cfg.checkpoint.endswith(f"uniformer_{arch}_in1k.pth")
    assert cfg.model.data_preprocessor.format_shape == "NCHW"
    for dataset, segments in zip(datasets(cfg).values(), (8, 8, 25), strict=True):
        sampling = dataset.pipeline[1]
        assert (sampling.type, sampling.clip_len, sampling.num_clips) == (
            "SampleFrames",
            1,
            segments,
        )
        assert dataset.pipeline[-2].input_format == "NCHW"


def test_smoothing_mixed_labels_gives_mixed_smoothed_labels():
    """The former is what mmaction's head does, the latter what timm does."""
    from mmaction.structures import ActionDataSample

    class Recorder(torch.nn.Module):
        def forward(self, scores, labels):
            self.labels = labels
            return {}

    cfg = read("video", "uniformer_s_8x8_k400")
    head = MODELS.build(dict(cfg.model.cls_head, num_classes=5))
    head.loss_cls = Recorder()
    share, first, second = 0.3, 1, 4
    mixed = share * torch.eye(5)[first] + (1 - share) * torch.eye(5)[second]
    sample = ActionDataSample().set_gt_label(mixed)
    head.loss_by_feat(torch.zeros(2, 5), [sample, sample])
    off, on = 0.1 / 5, 0.9 + 0.1 / 5
    smoothed = torch.full((5, 5), off).fill_diagonal_(on)
    expected = share * smoothed[first] + (1 - share) * smoothed[second]
    torch.testing.assert_close(head.loss_cls.labels, expected.expand(2, 5))


def test_action_detection_classifies_boxes_on_two_stages():
    cfg = read("video", "fast_rcnn_uniformer_s_16x4_ava21")
    model = build(cfg)
    assert (type(model).__name__, model.with_rpn, model.init_cfg) == ("FastRCNN", False, None)
    assert (model.backbone.dims, model.backbone.out_indices) == (3, (2, 3))
    assert cfg.model.backbone.init_cfg.checkpoint.endswith(K400_S)
    head = model.roi_head
    assert head.bbox_roi_extractor.featmap_stride == 16
    assert (head.bbox_head.in_channels, head.bbox_head.num_classes) == (832, 81)
    for split, dataset in datasets(cfg).items():
        sampling = dataset.pipeline[0]
        assert (sampling.type, sampling.clip_len, sampling.frame_interval) == (
            *("SampleAVAFrames", 16, 4),
        )
        part = "train" if split == "train" else "val"
        assert (dataset.data_root, dataset.ann_file) == (
            *("data/ava", f"annotations/ava_{part}_v2.1.csv"),
        )
    optimizer, _ = optimizer_and_decays(model, cfg)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[id(head.bbox_head.fc_cls.weight)] == 1.25e-4
    first = rates[id(model.backbone.patch_embed1.proj.weight)]
    assert first == pytest.approx(1.25e-4 * 0.75**19)
