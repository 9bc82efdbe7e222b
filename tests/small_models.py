"""Models of the configs with one block per stage, built in no time."""

from pathlib import Path

import torch
from mmengine.registry import MODELS, DefaultScope

from uniformer_mm.apis.launch import load_config, replace_sync_batch_norm
from uniformer_mm.models import ARCHS, LIGHT_ARCHS

ROOT = Path(__file__).resolve().parents[1]


def small_config(name):
    """A config with few blocks and no weights to start from."""
    cfg = load_config(str(ROOT / "configs" / f"{name}.py"))
    backbone = cfg.model.backbone
    arch = {**ARCHS, **LIGHT_ARCHS}[backbone.arch]
    backbone.update(init_cfg=None, arch=dict(arch, depths=(1, 1, 1, 1)))
    if "roi_head" in cfg.model:
        cfg.model.roi_head.bbox_head.fc_out_channels = 16
    replace_sync_batch_norm(cfg.model)
    return cfg


def small_state(cfg):
    """The tensors of its model."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(cfg.model).state_dict()
