"""Training and testing by the command-line tools, on a few synthetic images."""

import json
import math
import os
import pickle
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from own_data import ONE_EPOCH, train
from running import BRIEF, CONFIG, ROOT, run_inside
from small_models import BACKBONE, DETECTOR

pytestmark = [pytest.mark.slow, pytest.mark.stack]


def scalars_of(work_dir):
    (file,) = work_dir.glob("*/vis_data/scalars.json")
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_training_ends_with_scores_visualizations_and_next_commands(trained):
    work_dir, (output, errors) = trained
    command = f"tools/test.py {work_dir / 'detector.py'} {work_dir / 'iter_2.pth'}"
    for fact in ("coco/bbox_mAP", "coco/segm_mAP", " eta: ", command):
        assert fact in output
    assert (work_dir / "iter_2.pth").is_file()
    assert len(list((work_dir / "pictures").glob("*.jpg"))) == 2
    assert errors == ""


def test_testing_writes_predictions_and_visualizations(trained, monkeypatch, capsys):
    work_dir, _ = trained
    monkeypatch.chdir(work_dir.parent)
    status = run_inside(
        *("test.py", "detector.py", work_dir / "iter_2.pth", "--synthetic", 8, "--tta"),
        *("--out", "out.pkl", "--show-dir", "shown", "--work-dir", "tested"),
        *("--cfg-options", "model.test_cfg.rcnn.max_per_img=5"),
    )
    assert status == 0
    assert "coco/bbox_mAP" in capsys.readouterr().out
    assert len(pickle.loads(Path("out.pkl").read_bytes())) == 2
    assert len(list(Path("shown").rglob("*.jpg"))) == 2


def test_a_checkpoint_of_other_classes_is_not_evaluated(trained, tmp_path, monkeypatch, capsys):
    work_dir, _ = trained
    monkeypatch.chdir(work_dir.parent)
    checkpoint = torch.load(work_dir / "iter_2.pth", weights_only=False)
    checkpoint["state_dict"]["roi_head.bbox_head.fc_cls.weight"] = torch.zeros(10, 32)
    torch.save(checkpoint, tmp_path / "other.pth")
    assert run_inside("test.py", "detector.py", tmp_path / "other.pth", "--synthetic", 8) == 2
    error = capsys.readouterr().err
    for fact in ("roi_head.bbox_head.fc_cls.weight", "(10, 32)", "(7, 32)"):
        assert fact in error


def test_two_processes_train_without_a_gpu(synthetic_folder):
    work_dir, config = synthetic_folder / "distributed", synthetic_folder / "two_processes.py"
    config.write_text(DETECTOR)
    result = subprocess.run(
        [
            *("bash", str(ROOT / "tools" / "dist_train.sh"), str(config), "2", "--synthetic", "8"),
            *("--work-dir", str(work_dir), "--auto-scale-lr", "--cfg-options", *BRIEF),
        ],
        cwd=synthetic_folder,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "MMDistributedDataParallel" in result.stdout
    assert result.stdout.count("Trained ") == 1, "only the main process sums up"
    assert scalars_of(work_dir)[0]["lr"] > 0


def test_names_with_spaces(own_set, capsys):
    """The commands that the summary names run as they are printed."""
    folder, content = own_set
    (folder / "images").rename(folder / "my images")
    (folder / "my annotations.json").write_text(json.dumps(content))
    (folder / "detector.py").rename(folder / "my detector.py")
    data = "--coco", "my images", "my annotations.json"
    options = *data, "--cfg-options", *ONE_EPOCH
    assert run_inside("train.py", "my detector.py", "--work-dir", "my work", *options) == 0
    printed = capsys.readouterr().out.partition("Next:")[2].splitlines()
    commands = [shlex.split(line) for line in printed if "tools/" in line]
    assert [words[0] for words in commands] == ["tools/test.py", "tools/infer.py"]
    test, infer = commands
    assert run_inside("test.py", *test[1:], *options) == 0
    assert (folder / "my work" / "shown").is_dir()
    files = ["my images" if word == "FILES" else word for word in infer[1:]]
    assert run_inside("infer.py", *files, "--out", "my predictions") == 0
    assert len(list((folder / "my predictions" / "pictures").iterdir())) == 3


def test_own_data_with_empty_images_and_boxes_outside_is_trained_on(own_set, capsys):
    folder, content = own_set
    empty, outside, partly = (image["id"] for image in content["images"])
    kept = [a for a in content["annotations"] if a["image_id"] != empty]
    width = content["images"][1]["width"]
    for annotation in kept:
        if annotation["image_id"] == outside:
            annotation["bbox"][0] += 2 * width
            annotation["segmentation"] = [[0, 0, 5, 0, 5, 5]]
        elif annotation["image_id"] == partly:
            annotation["bbox"][0] = -annotation["bbox"][2] / 2
    content["annotations"] = kept
    keep_all = "train_dataloader.dataset.filter_cfg.filter_empty_gt=False"
    assert train(folder, content, "train_dataloader.batch_size=1", keep_all) == 0
    losses = [line["loss"] for line in scalars_of(folder / "work") if "loss" in line]
    assert len(losses) == 3
    assert all(map(math.isfinite, losses))
    summary = capsys.readouterr().out.split("Trained ")[1]
    assert "coco/bbox_mAP" in summary
    assert "pictures" not in summary
    assert f"tools/test.py {folder / 'work' / 'detector.py'}" in summary


def test_pretrained_weights_that_cannot_be_read_stop_the_training(own_set, capsys):
    folder, content = own_set
    weights = {"type": "Pretrained", "checkpoint": "empty.pth"}
    model = {"backbone": {"arch": BACKBONE["arch"], "init_cfg": weights}}
    (folder / "detector.py").write_text(f"{DETECTOR}model['backbone'].update({model['backbone']})")
    Path("empty.pth").write_bytes(b"")
    assert train(folder, content) == 2
    assert "empty.pth" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tool", "arguments", "facts"),
    [
        ("train.py", ["absent.py"], ["no config file absent.py"]),
        ("train.py", [CONFIG], ["data/coco/annotations/instances_train2017.json", "--synthetic"]),
        ("train.py", [CONFIG, "--synthetic", "0"], ["num_train must be", "got 0"]),
        ("train.py", [CONFIG, "--coco", "images"], ["--coco takes IMAGE_FOLDER TRAIN.json"]),
        ("train.py", [CONFIG, "--coco", "images", "absent.json"], ["absent.json"]),
        ("train.py", [CONFIG, "--synthetic", "8", "--resume", "absent.pth"], ["absent.pth"]),
        ("test.py", [CONFIG, "checkpoint.pth", "--out", "out.json"], ["--out", "out.json"]),
    ],
)
def test_mistakes_get_one_message_and_status_2(
    synthetic_folder, monkeypatch, capsys, tool, arguments, facts
):
    monkeypatch.chdir(synthetic_folder)
    assert run_inside(tool, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    for fact in facts:
        assert fact in error
    assert "Traceback" not in error


@pytest.mark.parametrize("tool", ["train.py", "test.py"])
def test_help_has_examples(tool, capsys):
    assert run_inside(tool, "--help") == 0
    assert f"tools/{tool} configs/det/mask_rcnn_uniformer_b.py" in capsys.readouterr().out
