"""Classification: synthetic images, augmented testing, class folders, and no mmpretrain."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from small_models import read_config

from uniformer_mm.apis.cli import make_parser
from uniformer_mm.apis.config import adapt_to_machine, prepare_config
from uniformer_mm.apis.diagnosis import diagnose
from uniformer_mm.apis.launch import build_runner
from uniformer_mm.datasets.overrides import dataset_configs
from uniformer_mm.datasets.synthetic.imagenet import CLASSES
from uniformer_mm.errors import UserError
from uniformer_mm.tasks import task_of
from uniformer_mm.tasks.mmpretrain import MODEL_SIZE
from uniformer_mm.visualization.drawing import MIN_WIDTH, resized

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[2]
PLAIN, TOKENS = (
    str(ROOT / "configs" / "cls" / f"uniformer_{name}_in1k.py") for name in ("s", "l_ls_tl_384")
)
TINY = {"depths": (1, 1, 1, 1), "embed_dims": (8, 16, 32, 512), "head_dim": 16}
COUNT = 16

needs_mmpretrain = pytest.mark.skipif(not find_spec("mmpretrain"), reason="without mmpretrain")


@pytest.fixture
def data(synthetic_sets) -> Path:
    """Parent of the synthetic dataset, which tests only read."""
    return synthetic_sets


def prepare(config, work_dir, data):
    """A config for two iterations of a tiny backbone on synthetic images."""
    cfg = read_config(config)
    cfg.work_dir = str(work_dir)
    task_of(cfg).use_synthetic_data(cfg, COUNT, data)
    adapt_to_machine(cfg)
    cfg.model.backbone.arch = TINY
    cfg.model.head.in_channels = 512
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.default_hooks.checkpoint.interval = 2
    return cfg


def train(cfg):
    runner = build_runner(cfg, exact_checkpoint=False)
    runner.train()
    return runner


def evaluate(cfg, checkpoint):
    cfg.load_from = str(checkpoint)
    runner = build_runner(cfg, exact_checkpoint=True)
    return runner, runner.test()


@needs_mmpretrain
@pytest.mark.parametrize("config", [PLAIN, TOKENS])
def test_synthetic_recipes_have_sizes_classes_and_mild_augmentation(config, tmp_path, data):
    cfg = prepare(config, tmp_path, data)
    used = str([cfg.model, cfg.data_preprocessor, cfg.custom_hooks, cfg.train_dataloader])
    for strong in ("RandAugment", "RandomErasing", "Mixup", "CutMix", "MixToken", "EMAHook"):
        assert strong not in used
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == len(CLASSES) == 12
    assert cfg.load_from is None
    from mmpretrain.registry import DATASETS

    for split, dataset in dataset_configs(cfg):
        samples = DATASETS.build(dataset)
        assert len(samples) == (COUNT if split == "train" else COUNT // 4)
        assert samples[0]["inputs"].shape == (3, MODEL_SIZE, MODEL_SIZE)
        assert samples.CLASSES == CLASSES


@needs_mmpretrain
@pytest.mark.slow
@pytest.mark.parametrize("config", [PLAIN, TOKENS])
def test_a_trained_model_is_tested_and_drawn_with_augmentation(config, tmp_path, data):
    cfg = prepare(config, tmp_path / "work", data)
    scalars = train(cfg).message_hub.log_scalars
    assert {f"val/{name}" for name in task_of(cfg).scores} <= set(scalars)

    cfg = prepare(config, tmp_path / "again", data)
    task_of(cfg).draw_predictions(cfg, tmp_path / "shown")
    task_of(cfg).use_test_time_augmentation(cfg)
    _, scores = evaluate(cfg, tmp_path / "work" / "iter_2.pth")
    assert set(scores) == set(task_of(cfg).scores)
    drawn = {path: cv2.imread(str(path)) for path in (tmp_path / "shown").rglob("*.jpg")}
    assert len(drawn) == COUNT // 4
    for path, picture in drawn.items():
        file = path.relative_to(tmp_path / "shown").with_suffix(".JPEG")
        image = cv2.imread(str(data / str(COUNT) / "imagenet" / "val" / file))
        image = resized(image, MIN_WIDTH)
        difference = picture[-len(image) :].astype(float) - image
        assert np.abs(difference).mean() < 4, "the whole image in its colours"


@needs_mmpretrain
def test_the_average_is_kept_and_the_model_itself_is_evaluated(tmp_path, data):
    hooks = read_config(PLAIN).custom_hooks
    hooks[0].momentum = 0.5

    def configure(name):
        cfg = prepare(PLAIN, tmp_path / name, data)
        cfg.custom_hooks = hooks
        return cfg

    runner = train(configure("work"))
    weight = runner.model.head.fc.weight.detach()
    path = tmp_path / "work" / "iter_2.pth"
    checkpoint = torch.load(path, weights_only=True)
    assert torch.equal(checkpoint["ema_state_dict"]["module.head.fc.weight"], weight)
    assert not torch.equal(checkpoint["state_dict"]["head.fc.weight"], weight)
    tester, scores = evaluate(configure("tested"), path)
    assert torch.equal(tester.model.head.fc.weight, weight)
    for name, score in scores.items():
        assert runner.message_hub.get_scalar(f"val/{name}").current() == score


@needs_mmpretrain
def test_missing_data_are_named_with_the_expected_layout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"(?s)data/imagenet/train\n.*train/n01440764/\*\.JPEG"):
        prepare_config(make_parser(None).parse_args([PLAIN]), splits=("train", "val"))


@pytest.fixture
def own_set(tmp_path, data):
    """A config that trains on a copy of the synthetic dataset, and the copy."""
    cfg = prepare(PLAIN, tmp_path / "work", data)
    root = tmp_path / "own"
    shutil.copytree(data / str(COUNT) / "imagenet", root)
    for _, dataset in dataset_configs(cfg):
        dataset.data_root = str(root)
    return cfg, root


@needs_mmpretrain
def test_a_file_that_is_no_image_and_an_absent_one_are_named(own_set):
    cfg, root = own_set
    images = sorted((root / "train").rglob("*.JPEG"))
    for image in images:
        image.write_text("no image")
    with pytest.raises(Exception, match="failed to load image") as error:
        train(cfg)
    assert f"{root}/train/n0000" in diagnose(error.value)
    assert "truncated" in diagnose(error.value)
    for image in images:
        image.unlink()
    with pytest.raises(FileNotFoundError) as error:
        train(cfg)
    assert f"there is no file {root}/train/n0000" in diagnose(error.value)


@needs_mmpretrain
def test_an_empty_class_folder_is_warned_of_and_trained_around(own_set, caplog):
    cfg, root = own_set
    for image in (root / "train" / "n00000003").iterdir():
        image.unlink()
    for _, dataset in dataset_configs(cfg):
        dataset.update(ann_file="", split="")
    train(cfg)
    log = next(Path(cfg.work_dir).glob("*/*.log")).read_text()
    assert "Found no valid file in the folder n00000003" in log


@pytest.mark.slow
def test_without_mmpretrain_everything_else_works_and_the_message_says_what_to_install(tmp_path):
    """In an environment with links to all other installed packages."""
    packages, folder = tmp_path / "packages", tmp_path / "folder"
    packages.mkdir()
    folder.mkdir()
    for path in sys.path:
        if path.endswith("site-packages"):
            for entry in Path(path).iterdir():
                link = packages / entry.name
                if not entry.name.startswith("mmpretrain") and not link.exists():
                    link.symlink_to(entry)
    code = f"""
import importlib.util, sys
assert importlib.util.find_spec("mmpretrain") is None
import uniformer_mm
from mmengine.config import Config
from uniformer_mm.tasks import TASKS
assert "mmpretrain" in TASKS
det = Config.fromfile({str(ROOT / "configs" / "det" / "mask_rcnn_uniformer_s.py")!r})
assert det.model.backbone.type == "mmengine.UniFormer"
sys.argv = ["train.py", {PLAIN!r}, "--synthetic"]
import runpy
runpy.run_path({str(ROOT / "tools" / "train.py")!r}, run_name="__main__")
"""
    result = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{packages}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 2, result.stderr[-3000:]
    (line,) = (text for text in result.stderr.splitlines() if text.startswith("error: "))
    assert "pip install 'uniformer-mm[cls" in line
    assert "Traceback" not in result.stderr
