"""The command-line tools as a user runs them, on a few drawn images."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from running import BRIEF, CONFIG, ROOT, run, run_inside


def last_iteration(work_dir):
    return int((work_dir / "last_checkpoint").read_text().rsplit("iter_", 1)[1].split(".")[0])


def test_training_ends_with_scores_pictures_and_what_to_do_next(trained):
    work_dir, result = trained
    assert "coco/bbox_mAP" in result.stdout
    assert "coco/segm_mAP" in result.stdout
    assert f"tools/test.py {CONFIG} {work_dir / 'iter_2.pth'} --synthetic 8\n" in result.stdout
    assert (work_dir / "iter_2.pth").is_file()
    pictures = list((work_dir / "pictures").glob("*.jpg"))
    assert len(pictures) == 2
    assert " eta: " in result.stdout
    assert result.stderr == ""


def test_training_resumes(trained, synthetic_folder):
    work_dir, _ = trained
    longer = [option.replace("max_iters=2", "max_iters=3") for option in BRIEF]
    result = run(
        *("train.py", CONFIG, "--synthetic", 8, "--work-dir", work_dir, "--resume"),
        *("--cfg-options", *longer, "default_hooks.checkpoint.interval=1"),
        cwd=synthetic_folder,
    )
    assert "resumed epoch: 0, iter: 2" in result.stdout
    assert last_iteration(work_dir) == 3


def test_testing_writes_predictions_and_pictures_with_augmentation(trained, synthetic_folder):
    work_dir, _ = trained
    out, pictures = synthetic_folder / "out.pkl", synthetic_folder / "shown"
    result = run(
        *("test.py", CONFIG, work_dir / "iter_2.pth", "--synthetic", 8, "--tta"),
        *("--out", out, "--show-dir", pictures, "--work-dir", synthetic_folder / "tested"),
        *("--cfg-options", "model.test_cfg.rcnn.max_per_img=5"),
        cwd=synthetic_folder,
    )
    assert "coco/bbox_mAP" in result.stdout
    assert "boxes only" in result.stdout
    predictions = pickle.loads(out.read_bytes())
    assert len(predictions) == 2
    assert len(list(pictures.glob("*.jpg"))) == 2


def test_two_processes_train_without_a_gpu(synthetic_folder):
    work_dir = synthetic_folder / "distributed"
    result = subprocess.run(
        [
            *("bash", str(ROOT / "tools" / "dist_train.sh"), CONFIG, "2", "--synthetic", "8"),
            *("--work-dir", str(work_dir), "--auto-scale-lr", "--cfg-options", *BRIEF),
        ],
        cwd=synthetic_folder,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PORT": "29511",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "MMDistributedDataParallel" in result.stdout
    assert result.stdout.count("Trained ") == 1, "only the main process sums up"
    scalars = next(work_dir.glob("*/vis_data/scalars.json")).read_text().splitlines()
    assert json.loads(scalars[0])["lr"] > 0


def test_own_data_in_coco_format(synthetic_folder):
    coco = synthetic_folder / "data" / "synthetic" / "coco"
    result = run(
        *("train.py", CONFIG, "--work-dir", synthetic_folder / "own", "--coco", coco / "train2017"),
        coco / "annotations" / "instances_train2017.json",
        *("--cfg-options", "model.backbone.init_cfg=None", "train_cfg.max_epochs=1"),
        *("train_dataloader.num_workers=0", "train_dataloader.persistent_workers=False"),
        *("val_dataloader.num_workers=0", "val_dataloader.persistent_workers=False"),
        *("model.test_cfg.rcnn.max_per_img=5", "model.train_cfg.rcnn.sampler.num=16"),
        *("train_dataloader.dataset.indices=2", "val_dataloader.dataset.indices=1"),
        *("train_dataloader.dataset.pipeline.2.scale=(128,128)",),
        *("val_dataloader.dataset.pipeline.1.scale=(128,128)",),
        cwd=synthetic_folder,
    )
    assert "coco/bbox_mAP" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.py"], "no config file absent.py"),
        ([CONFIG], "data/coco/annotations/instances_train2017.json"),
        ([CONFIG], "Without any data, on drawn images:    --synthetic"),
        ([CONFIG, "--synthetic", "0"], "num_train must be an integer >= 1, got 0"),
        ([CONFIG, "--coco", "images"], "--coco takes IMAGE_FOLDER TRAIN.json [VAL.json]"),
        ([CONFIG, "--coco", "images", "absent.json"], "no annotation file absent.json"),
        ([CONFIG, "--synthetic", "8", "--resume", "absent.pth"], "no checkpoint at absent.pth"),
    ],
)
def test_mistakes_get_one_message_and_status_2(
    synthetic_folder, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(synthetic_folder)
    assert run_inside("train.py", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert "Traceback" not in error


def test_pretrained_weights_that_cannot_be_read_stop_the_training(
    synthetic_folder, monkeypatch, capsys
):
    monkeypatch.chdir(synthetic_folder)
    Path("empty.pth").write_bytes(b"")
    coco = Path("data", "synthetic", "coco")
    status = run_inside(
        *("train.py", CONFIG, "--work-dir", "weights", "--coco", coco / "train2017"),
        *(coco / "annotations" / "instances_train2017.json", "--cfg-options"),
        *("model.backbone.init_cfg.checkpoint=empty.pth", "train_dataloader.num_workers=0"),
        "train_dataloader.persistent_workers=False",
    )
    assert status == 2
    assert "cannot read the checkpoint empty.pth" in capsys.readouterr().err


def test_predictions_go_into_a_pickle_file_only(synthetic_folder, monkeypatch, capsys):
    monkeypatch.chdir(synthetic_folder)
    assert run_inside("test.py", CONFIG, "checkpoint.pth", "--out", "predictions.json") == 2
    assert "--out must name a .pkl file, got predictions.json" in capsys.readouterr().err


@pytest.mark.parametrize("tool", ["train.py", "test.py"])
def test_help_has_examples(tool, capsys):
    assert run_inside(tool, "--help") == 0
    assert f"tools/{tool} configs/det/mask_rcnn_uniformer_b.py" in capsys.readouterr().out
