"""The config in the working directory of a synthetic training gives the scores of the training.

The sets have one sample for training and one for validation.
"""

import json

import pytest
from mmengine.config import Config
from running import ROOT, run_inside
from small_models import BACKBONE, CONFIGS, HEADS

pytestmark = [pytest.mark.slow, pytest.mark.stack]

OPTIONS = [
    *("train_cfg.max_iters=2", "train_cfg.val_interval=2", "default_hooks.logger.interval=1"),
    "default_hooks.checkpoint.interval=2",
]
SCORE = {
    "det": "coco/bbox_mAP",
    "seg": "mIoU",
    "pose": "coco/AP",
    "video": "acc/top1",
    "cls": "accuracy/top1",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("work_dir_config")


@pytest.mark.parametrize("task", CONFIGS)
def test_it_gives_the_scores_of_the_training(task, folder, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    config, work_dir = folder / f"{task}.py", folder / task
    small = dict(HEADS[task], backbone=BACKBONE)
    if task == "det":
        small["test_cfg"] = {"rcnn": {"max_per_img": 5}}
    imports = "custom_imports = None\n" if task == "det" else ""  # the tool has imported ours
    config.write_text(f"{imports}_base_ = {str(ROOT / CONFIGS[task])!r}\nmodel = {small!r}\n")
    arguments = ["--synthetic", 1, "--work-dir", work_dir, "--cfg-options", *OPTIONS]
    assert run_inside("train.py", config, *arguments) == 0
    assert list((work_dir / "pictures").iterdir())
    assert f"tools/test.py {work_dir / config.name}" in capfd.readouterr().out
    last = (work_dir / "last_checkpoint").read_text()
    (log,) = work_dir.glob("*/vis_data/scalars.json")
    trained = json.loads(log.read_text().splitlines()[-1])

    left = work_dir / config.name
    cfg = Config.fromfile(left)
    assert cfg.test_evaluator
    assert "indices" not in cfg.test_dataloader.dataset
    tested = folder / f"tested_{task}.py"
    # Videos are tested on more views than they are validated on.
    views = "test_dataloader = {{_base_.val_dataloader}}\n" if task == "video" else ""
    tested.write_text(f"_base_ = {str(left)!r}\n{views}")
    before = left.read_bytes()
    scores = folder / f"{task}.json"
    shown = ["--show-dir", folder / "shown" / task]
    assert run_inside("test.py", tested, last, "--scores", scores, *shown) == 0
    measured = json.loads(scores.read_text())["scores"]
    assert measured[SCORE[task]] == pytest.approx(trained[SCORE[task]], abs=1e-6)
    assert list((folder / "shown" / task).rglob("*.jpg"))
    assert left.read_bytes() == before
