"""Small models, configs and training recipes of all five codebases.

`CONFIGS` names one config per task. `small_config` keeps the heads of a published config and
shortens its backbone; `training_config` is a whole recipe, narrow, on synthetic data.
"""

import copy
from functools import cache
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS, DefaultScope, init_default_scope

from uniformer_mm import Inferencer
from uniformer_mm.apis.config import adapt_to_machine, load_config, replace_sync_batch_norm
from uniformer_mm.models import ARCHS, LIGHT_ARCHS
from uniformer_mm.tasks import task_of

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = {
    "det": "configs/det/mask_rcnn_uniformer_s.py",
    "seg": "configs/seg/upernet_uniformer_s_h14.py",
    "pose": "configs/pose/td_hm_uniformer_s_256x192.py",
    "video": "configs/video/uniformer_s_8x8_k400.py",
    "cls": "configs/cls/uniformer_s_in1k.py",
}
WIDTHS = [32, 32, 64, 64]
ARCH = {"depths": (1, 1, 1, 1), "embed_dims": WIDTHS, "head_dim": 32}
HEADS = {
    "det": {
        "neck": {"in_channels": WIDTHS, "out_channels": 32},
        "rpn_head": {"in_channels": 32, "feat_channels": 32},
        "roi_head": {
            "bbox_roi_extractor": {"out_channels": 32},
            "bbox_head": {"in_channels": 32, "fc_out_channels": 32},
            "mask_roi_extractor": {"out_channels": 32},
            "mask_head": {"in_channels": 32, "conv_out_channels": 32},
        },
        "train_cfg": {"rcnn": {"sampler": {"num": 16}}},
    },
    "seg": {
        "decode_head": {"in_channels": WIDTHS, "channels": 32},
        "auxiliary_head": {"in_channels": 64, "channels": 32},
    },
    "pose": {"head": {"in_channels": 64}},
    "video": {"cls_head": {"in_channels": 64}},
    "cls": {"head": {"in_channels": 64}},
}
"""Settings that make the heads of `CONFIGS` narrow."""

BACKBONE = {"arch": {"_delete_": True, **ARCH}, "init_cfg": None}
DETECTOR = f"""
_base_ = {str(ROOT / CONFIGS["det"])!r}
model = {dict(HEADS["det"], backbone=BACKBONE)!r}
"""
"""Content of a config file."""


@cache
def _read(path):
    return load_config(str(ROOT / path))


def read_config(path):
    """A copy of a config of this repository, whose file is read once per process."""
    return copy.deepcopy(_read(path))


def small_config(name):
    """A config with few blocks, full width and no weights to start from."""
    cfg = read_config(f"configs/{name}.py")
    backbone = cfg.model.backbone
    arch = {**ARCHS, **LIGHT_ARCHS}[backbone.arch]
    backbone.update(init_cfg=None, arch=dict(arch, depths=(1, 1, 1, 1)))
    if "roi_head" in cfg.model:
        cfg.model.roi_head.bbox_head.fc_out_channels = 16
    replace_sync_batch_norm(cfg.model)
    return cfg


def small_state(cfg):
    """The state dict of its model."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(cfg.model).state_dict()


def training_config(task_name, data, work_dir, iterations=3):
    """A narrow recipe on synthetic data, saved after every iteration and never evaluated.

    Args:
        task_name: A key of `CONFIGS`.
        data: Folder of the synthetic sets: the fixture `synthetic_sets`.
        work_dir: For checkpoints and logs.
        iterations: Length of the training.
    """
    many = task_name in ("video", "cls")
    cfg = read_config(CONFIGS[task_name])
    cfg.work_dir, cfg.launcher = str(work_dir), "none"
    blending = cfg.model.get("data_preprocessor", {}).get("blending")
    augments = cfg.model.get("train_cfg")
    task_of(cfg).use_synthetic_data(cfg, 16 if many else 4, data)
    init_default_scope(cfg.default_scope)
    cfg.merge_from_dict({"model": HEADS[task_name]})
    cfg.model.backbone.update(arch=ARCH, drop_path_rate=0.3)
    if task_name == "video":
        cfg.model.data_preprocessor.blending = dict(blending, num_classes=4)
    if task_name == "cls":
        cfg.model.train_cfg = augments
    cfg.train_dataloader.batch_size = 4 if many else 2
    cfg.train_cfg.update(max_iters=iterations, val_interval=iterations + 1)
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=-1)
    cfg.default_hooks.logger.interval = 1
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    adapt_to_machine(cfg)
    return cfg


INFERENCE = {
    "det": {
        "test_dataloader.dataset.pipeline.1.scale": (96, 64),
        "model.test_cfg.rcnn.max_per_img": 5,
        "model.test_cfg.rcnn.score_thr": 0.0,
        "model.test_cfg.rpn.max_per_img": 20,
    },
    "seg": {"test_dataloader.dataset.pipeline.1.scale": (128, 64)},
    "pose": {},
    "video": {
        "test_dataloader.dataset.pipeline.1.num_clips": 2,
        "test_dataloader.dataset.pipeline.3.scale": (-1, 32),
        "test_dataloader.dataset.pipeline.4.crop_size": 32,
    },
    "cls": {},
}
"""Settings that make the inputs of `CONFIGS` small."""


def inference_options(task_name):
    """Settings for an `Inferencer` of a config of `CONFIGS`: a narrow model of small inputs."""
    model = dict(HEADS[task_name], backbone=BACKBONE)
    return copy.deepcopy({"model": model, **INFERENCE[task_name]})  # merging changes them


def build_inferencer(task_name, **options):
    """A small `Inferencer` with random weights."""
    torch.manual_seed(0)
    return Inferencer(
        read_config(CONFIGS[task_name]),
        device="cpu",
        random_weights=True,
        cfg_options=inference_options(task_name),
        **options,
    )


@HOOKS.register_module()
class DoAt(Hook):
    """Call `DoAt.action(runner)` before an iteration (from 1)."""

    action = None

    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.iteration:
            DoAt.action(runner)
