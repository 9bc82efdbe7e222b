"""Recipes of every task on synthetic data: training, scores, and drawn predictions."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_models import ARCH, CONFIGS, HEADS, read_config

from uniformer_mm.apis.config import adapt_to_machine
from uniformer_mm.apis.launch import build_runner
from uniformer_mm.engine.hooks.draw_predictions import path_of
from uniformer_mm.tasks import task_of

pytestmark = [pytest.mark.stack, pytest.mark.slow]

RECIPES = {name: (path, HEADS[name]) for name, path in CONFIGS.items()}
RECIPES["fpn"] = (
    "configs/seg/semantic_fpn_uniformer_s_h14.py",
    {"neck": {"in_channels": [32, 32, 64, 64]}},
)
RECIPES["frames"] = ("configs/video/tsn_uniformer_s_k400.py", HEADS["video"])


def recipe(name, data, work_dir):
    """A narrow recipe of two iterations, evaluated at its end."""
    path, heads = RECIPES[name]
    cfg = read_config(path)
    cfg.work_dir, cfg.launcher = str(work_dir), "none"
    task_of(cfg).use_synthetic_data(cfg, 16 if name == "cls" else 4, data)
    cfg.merge_from_dict({"model": heads})
    cfg.model.backbone.arch = ARCH
    cfg.train_dataloader.batch_size = 4 if name == "cls" else 2
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.default_hooks.checkpoint = None
    adapt_to_machine(cfg)
    return cfg


@pytest.mark.parametrize("name", RECIPES)
def test_training_ends_with_scores_and_drawn_predictions(name, synthetic_sets, tmp_path):
    cfg = recipe(name, synthetic_sets, tmp_path / "work")
    task, out = task_of(cfg), tmp_path / "drawn"
    task.draw_samples(cfg, out)
    runner = build_runner(cfg, exact_checkpoint=False)
    runner.train()
    assert math.isfinite(runner.message_hub.get_scalar("train/loss").current())
    for score in task.scores:
        assert 0 <= runner.message_hub.get_scalar(f"val/{score}").current() <= 100
    for path in out.rglob("*.jpg"):  # of the validation
        path.unlink()
    runner.test()
    dataset = runner.test_dataloader.dataset
    paths = {path_of(dataset.get_data_info(index)) for index in range(len(dataset))}
    drawn = {path.stem: cv2.imread(str(path)) for path in out.rglob("*.jpg")}
    assert set(drawn) == {Path(path).stem for path in paths}
    for path in paths if name in ("det", "seg", "fpn", "pose") else ():
        image, panels = cv2.imread(path), drawn[Path(path).stem]
        width = image.shape[1]
        left, right = panels[:, :width].astype(int), panels[:, -width:].astype(int)
        assert np.abs(left - right).mean() > 0.5, "two iterations teach nothing yet"
