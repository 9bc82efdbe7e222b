"""Every kind of config trains and evaluates on a synthetic dataset."""

import pytest
import torch
from mmengine.config import Config
from zoo_configs import CONFIGS, ROOT, ZOO, parsed

from uniformer_mm.apis.config import adapt_to_machine, load_config
from uniformer_mm.apis.launch import build_runner
from uniformer_mm.models import ARCHS, LIGHT_ARCHS
from uniformer_mm.tasks import task_of

pytestmark = pytest.mark.stack

TRAINED = {
    "cls": [
        *("uniformer_s_in1k", "uniformer_b_ls_in1k", "uniformer_l_ls_tl_224_in1k"),
        *("uniformer_s_tl_384_in1k", "uniformer_xs_192_in1k", "uniformer_xxs_128_in1k"),
    ],
    "det": [
        *("faster_rcnn_uniformer_s", "mask_rcnn_uniformer_s", "mask_rcnn_uniformer_xxs"),
        *("mask_rcnn_uniformer_b_3x_ms", "cascade_mask_rcnn_uniformer_s_3x_ms"),
        *("mask_rcnn_uniformer_s_lsj", "mask2former_uniformer_b", "dino_4scale_uniformer_s"),
        "rtmdet_ins_uniformer_s",
    ],
    "pose": [
        *("td_hm_uniformer_s_256x192", "td_hm_uniformer_b_448x320", "simcc_uniformer_s_256x192")
    ],
    "seg": [
        *("semantic_fpn_uniformer_s_h14", "semantic_fpn_uniformer_b_global"),
        *("semantic_fpn_uniformer_s_w32", "semantic_fpn_uniformer_xxs"),
        *("upernet_uniformer_s_h14", "upernet_uniformer_b_global", "upernet_uniformer_b_w32"),
        *("segformer_uniformer_s", "mask2former_uniformer_s"),
    ],
    "video": [
        *("tsn_uniformer_s_k400", "uniformer_b_8x8_k400", "uniformer_s_16_sthv1_prek400"),
        *("uniformer_s_16x4_ucf101", "uniformer_s_16x4_hmdb51", "uniformer_xs_32x192_k400"),
        *("uniformer_xxs_16x128_k400", "uniformer_xxs_4x128_k400"),
        "fast_rcnn_uniformer_s_16x4_ava21",
    ],
}
RUN = [(task, name) for task, chosen in TRAINED.items() for name in chosen]
SECTIONS = (
    *("model", "data_preprocessor", "train_dataloader", "val_dataloader", "val_evaluator"),
    *("optim_wrapper", "param_scheduler", "custom_hooks", "default_hooks"),
)
NAMED = {"type", "attention", "layer_scale", "output_norm", "mode"}
"""Strings that decide what runs; others are paths."""
VALUES = {
    *("arch", "dims", "drop_path_rate", "with_cp", "head_dim", "window_size", "layer_scale_init"),
    *("fp32_attention", "init_cfg", "fps", "_scope_"),
}
"""Settings of any value whose effect the tests of models, loading and videos show."""


def structure(value, key=None):
    """A config without its numbers and paths."""
    if isinstance(value, dict):
        return tuple(sorted((k, structure(v, k)) for k, v in value.items() if k not in VALUES))
    if isinstance(value, (list, tuple)):
        items = tuple(structure(item, key) for item in value)
        return "numbers" if set(items) == {"number"} else items
    if isinstance(value, str):
        return value if key in NAMED else "string"
    return value if value is None or isinstance(value, bool) else "number"


def structure_of(task, name):
    cfg = parsed(task, name).to_dict()
    return task, tuple(structure(cfg.get(section)) for section in SECTIONS)


def test_every_config_has_the_structure_of_one_that_is_trained():
    trained = {structure_of(task, name) for task, name in RUN}
    for entry in ZOO.values():
        assert structure_of(entry.task, entry.name) in trained, entry.config
    assert {f"configs/{task}/{name}.py" for task, name in RUN} <= set(CONFIGS)


@pytest.mark.parametrize(("task", "name"), RUN, ids=[name for _, name in RUN])
def test_trains_two_iterations_and_evaluates(task, name, tmp_path_factory, tmp_path, monkeypatch):
    """The recipe's own datasets, pipelines, model, optimizer and metric, with few blocks."""
    cfg = load_config(ROOT / "configs" / task / f"{name}.py")
    cfg.work_dir = str(tmp_path)
    task = task_of(cfg)
    task.use_synthetic_data(cfg, 4, tmp_path_factory.getbasetemp() / "every_config")
    backbone = cfg.model.backbone
    arch = (LIGHT_ARCHS if backbone.type == "mmengine.UniFormerLight" else ARCHS)[backbone.arch]
    backbone.arch = dict(arch, depths=(1, 1, 4, 1))
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.train_dataloader.batch_size = 2
    cfg.val_dataloader.batch_size = 1
    cfg.default_hooks.checkpoint = None
    cfg.default_hooks.logger.interval = 1
    # COCO has no scores where nothing is found.
    found = cfg.model.get("test_cfg", {})
    for settings in (found, found.get("rcnn") or {}):
        if "score_thr" in settings:
            settings.score_thr = 0.0
    adapt_to_machine(cfg)
    # Formatting the config for the log takes as long as the training.
    monkeypatch.setattr(Config, "pretty_text", "the config")
    runner = build_runner(cfg, exact_checkpoint=False)
    runner.train()
    assert runner.iter == 2
    loss = runner.message_hub.get_scalar("train/loss").current()
    assert torch.isfinite(torch.tensor(loss))
    assert any(f"val/{name}" in runner.message_hub.log_scalars for name in task.scores)
