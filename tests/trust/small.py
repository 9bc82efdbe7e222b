"""Trainings of a few iterations: all of a recipe but its size."""

import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, init_default_scope
from runs import forget_runs

from uniformer_mm.apis import launch
from uniformer_mm.tasks import task_of

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "tools"))
from running import run_inside  # noqa: E402

__all__ = ["CONFIGS", "DETECTOR", "ROOT", "DoAt", "forget_runs", "run_inside", "small_config"]

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
"""Settings of the models that make them narrow."""

BACKBONE = {"arch": {"_delete_": True, **ARCH}, "init_cfg": None}
DETECTOR = f"""
_base_ = {str(ROOT / CONFIGS["det"])!r}
model = {dict(HEADS["det"], backbone=BACKBONE)!r}
"""
"""A config file."""


def small_config(task_name: str, folder: Path, work_dir: Path, iterations: int = 3) -> Config:
    """A recipe with few blocks and drawn data, saved after every iteration and not evaluated."""
    cfg = launch.load_config(str(ROOT / CONFIGS[task_name]), str(work_dir))
    blending = cfg.model.get("data_preprocessor", {}).get("blending")
    augments = cfg.model.get("train_cfg")
    task = task_of(cfg)
    task.use_synthetic_data(cfg, 16 if task_name in ("video", "cls") else 4, folder)
    init_default_scope(cfg.default_scope)
    cfg.merge_from_dict({"model": HEADS[task_name]})
    cfg.model.backbone.update(arch=ARCH, drop_path_rate=0.3)
    if task_name == "video":
        cfg.model.data_preprocessor.blending = dict(blending, num_classes=4)
    if task_name == "cls":
        cfg.model.train_cfg = augments
    cfg.train_dataloader.batch_size = 4 if task_name in ("video", "cls") else 2
    cfg.train_cfg.update(max_iters=iterations, val_interval=iterations + 1)
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=-1)
    cfg.default_hooks.logger.interval = 1
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    launch.adapt_to_machine(cfg)
    return cfg


@HOOKS.register_module()
class DoAt(Hook):
    """Calls a function of the runner before an iteration (from 1)."""

    action = None

    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.iteration:
            DoAt.action(runner)
