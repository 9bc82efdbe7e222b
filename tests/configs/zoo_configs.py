"""Configs of the zoo by task and name, and what several tests read from them."""

import copy
import functools
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, init_default_scope

from uniformer_mm.checkpoints.zoo import list_models

ROOT = Path(__file__).resolve().parents[2]
SCOPES = {
    "cls": "mmpretrain",
    "det": "mmdet",
    "pose": "mmpose",
    "seg": "mmseg",
    "video": "mmaction",
}
ZOO = {model.config: model for model in list_models(ROOT)}
CONFIGS = sorted(
    str(path.relative_to(ROOT)) for task in SCOPES for path in ROOT.glob(f"configs/{task}/*.py")
)
IMAGENET_MEAN, IMAGENET_STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def names(task):
    return {Path(config).stem for config in CONFIGS if config.startswith(f"configs/{task}/")}


def entry(task, name):
    """Entry of the metafile."""
    return ZOO[f"configs/{task}/{name}.py"]


@functools.cache
def parsed(task, name):
    """The config, shared by all tests of a process. Not to be changed."""
    init_default_scope(SCOPES[task])  # which reading the bases of mmseg needs
    return Config.fromfile(ROOT / "configs" / task / f"{name}.py")


def read(task, name):
    """A copy of the config, in the scope of its codebase."""
    cfg = copy.deepcopy(parsed(task, name))
    init_default_scope(SCOPES[task])
    return cfg


def build(cfg):
    """The model on the meta device: shapes without values."""
    init_default_scope(cfg.default_scope)
    with torch.device("meta"):
        return MODELS.build(cfg.model)


def optimizer_and_decays(model, cfg):
    """The optimizer, and the weight decay of every parameter by name."""
    settings = dict(cfg.optim_wrapper, type="OptimWrapper")  # AmpOptimWrapper needs a GPU
    settings.pop("loss_scale", None)
    optimizer = build_optim_wrapper(model, settings).optimizer
    decays = {
        id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    return optimizer, {name: decays[id(p)] for name, p in model.named_parameters()}


def rates(schedulers, steps, lr=1.0):
    """Learning rate at every step of some schedulers' configs."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    built = [PARAM_SCHEDULERS.build(dict(cfg, optimizer=optimizer)) for cfg in schedulers]
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in built:
            scheduler.step()
    return found


def mmcv_1_warmup(steps, ratio):
    """Shares of the rate in the linear warm-up of mmcv 1.x, and the two steps after it."""
    return [1 - (1 - i / steps) * (1 - ratio) for i in range(steps)] + [1.0, 1.0]


def datasets(cfg):
    """Config of the dataset by split."""
    return {split: cfg[f"{split}_dataloader"].dataset for split in ("train", "val", "test")}


def transforms(pipeline):
    """Transforms by type; of several branches, those of the last one."""
    found = {}
    for step in pipeline:
        found[step.type] = step
        for branch in step.get("transforms", []):
            found.update(transforms(branch))
    return found
