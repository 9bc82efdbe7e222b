"""Samples of every task are shown as their model gets them."""

from pathlib import Path

import numpy as np
import pytest

from uniformer_mm.analysis.dataset_samples import browse
from uniformer_mm.apis.config import adapt_to_machine, load_config
from uniformer_mm.tasks import task_of

pytestmark = pytest.mark.stack

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
MODELS = {
    "det": "det/mask_rcnn_uniformer_s.py",
    "seg": "seg/upernet_uniformer_s_h14.py",
    "pose": "pose/td_hm_uniformer_s_256x192.py",
    "video": "video/uniformer_s_8x8_k400.py",
    "cls": "cls/uniformer_s_in1k.py",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("synthetic")


def config(task, folder):
    cfg = load_config(str(CONFIGS / MODELS[task]))
    blending = cfg.model.get("data_preprocessor", {}).get("blending")
    augments = cfg.model.get("train_cfg")
    task_of(cfg).use_synthetic_data(cfg, 8, folder)
    if task == "video":
        cfg.model.data_preprocessor.blending = dict(blending, num_classes=4)
    if task == "cls":
        cfg.model.train_cfg = augments
    cfg.model.backbone.arch = {"depths": (1, 1, 1, 1)}
    adapt_to_machine(cfg)
    return cfg


@pytest.mark.parametrize("task", MODELS)
def test_training_samples_are_drawn(folder, task):
    samples = list(browse(config(task, folder), "train", 3, seed=1))
    assert [name[:4] for name, _ in samples] == ["000_", "001_", "002_"]
    for _, image in samples:
        assert image.dtype == np.uint8
        assert image.std() > 5


@pytest.mark.parametrize("task", ["det", "seg"])
def test_validation_samples_have_the_ground_truth_of_the_resized_image(folder, task):
    cfg = config(task, folder)
    cfg.val_dataloader.dataset.pipeline[1].scale = (96, 96)
    assert len(list(browse(cfg, "val", 2))) == 2
    names = [step.type for step in cfg.val_dataloader.dataset.pipeline]
    assert names.index("LoadAnnotations" if task == "det" else "LoadLabelMap") == 1


@pytest.mark.parametrize("task", ["pose", "video"])
def test_the_seed_decides_about_choice_and_augmentation(folder, task):
    first, again, other = (
        list(browse(config(task, folder), "train", 3, seed=seed)) for seed in (1, 1, 2)
    )
    assert all((a[1] == b[1]).all() for a, b in zip(first, again, strict=True))
    assert [name for name, _ in other] != [name for name, _ in first]


@pytest.mark.parametrize("task", ["video", "cls"])
def test_mixed_samples_show_the_shares_of_their_classes(folder, task, monkeypatch):
    headers = []

    def under_scores(image, scores, lines):
        headers.append(scores)
        return image

    monkeypatch.setattr("uniformer_mm.visualization.class_scores.under_scores", under_scores)
    list(browse(config(task, folder), "train", 8))
    assert any(len(scores) == 2 for scores in headers)
    for scores in headers:
        assert sum(share for _, share in scores) == pytest.approx(1, abs=1e-4)
    headers.clear()
    list(browse(config(task, folder), "val", 2))
    assert [[share for _, share in scores] for scores in headers] == [[1], [1]]
