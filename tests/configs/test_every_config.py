"""Every config is in its metafile, builds, and trains and evaluates in miniature."""

from pathlib import Path

import describing
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from uniformer_mm.apis.config import adapt_to_machine, load_config
from uniformer_mm.apis.launch import build_runner
from uniformer_mm.checkpoints.zoo import list_models
from uniformer_mm.models import ARCHS, LIGHT_ARCHS
from uniformer_mm.tasks import task_of

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(
    str(path.relative_to(ROOT))
    for path in ROOT.glob("configs/*/*.py")
    if path.parent.name != "_base_"
)
ZOO = {model.config: model for model in list_models(ROOT)}


def test_the_metafiles_list_exactly_the_configs():
    assert sorted(ZOO) == CONFIGS
    assert all(model.name == Path(model.config).stem for model in ZOO.values())


@pytest.mark.parametrize("config", CONFIGS)
def test_the_metafile_says_what_the_config_does(config):
    cfg = load_config(str(ROOT / config))
    init_default_scope(cfg.default_scope)
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    assert sum(p.numel() for p in model.parameters()) == ZOO[config].parameters
    assert cfg.auto_scale_lr.base_batch_size == ZOO[config].batch_size
    says = ZOO[config]
    assert describing.data(cfg) == says.data
    assert describing.backbone(cfg, model, says.task) == says.backbone
    assert describing.schedule(cfg, says.task) == says.schedule
    assert says.flops_input in (None, describing.flops_input(cfg, says.task))
    assert set(says.metrics) <= describing.metrics(cfg, says.task)


@pytest.mark.parametrize("config", CONFIGS)
def test_trains_two_iterations_and_evaluates(config, tmp_path_factory, tmp_path, monkeypatch):
    """The recipe's own datasets, pipelines, model, optimizer and metric, with few blocks."""
    folder = tmp_path_factory.getbasetemp() / "every_config"
    cfg = load_config(str(ROOT / config))
    cfg.work_dir = str(tmp_path)
    task = task_of(cfg)
    task.use_synthetic_data(cfg, 4, folder)
    backbone = cfg.model.backbone
    arch = (LIGHT_ARCHS if backbone.type == "mmengine.UniFormerLight" else ARCHS)[backbone.arch]
    backbone.arch = dict(arch, depths=(1, 1, 4, 1))
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.train_dataloader.batch_size = 2
    cfg.val_dataloader.batch_size = 1
    cfg.default_hooks.checkpoint = None
    cfg.default_hooks.logger.interval = 1
    if "rcnn" in cfg.model.get("test_cfg", {}):
        cfg.model.test_cfg.rcnn.score_thr = 0.0  # COCO has no scores where nothing is found
    adapt_to_machine(cfg)
    # Formatting the config for the log takes as long as the training.
    monkeypatch.setattr(Config, "pretty_text", "the config")
    runner = build_runner(cfg, exact_checkpoint=False)
    runner.train()
    assert runner.iter == 2
    loss = runner.message_hub.get_scalar("train/loss").current()
    assert torch.isfinite(torch.tensor(loss))
    assert any(f"val/{name}" in runner.message_hub.log_scalars for name in task.scores)
