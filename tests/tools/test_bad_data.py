"""Faulty images, annotations and checkpoints: trained around, or reported with the file's name."""

import json
import math
import re
import shutil

import pytest
import torch
from running import CONFIG, run_inside

BRIEF = [
    *("model.backbone.init_cfg=None", "train_cfg.max_epochs=1", "default_hooks.logger.interval=1"),
    *("train_dataloader.persistent_workers=False", "val_dataloader.persistent_workers=False"),
    *("val_dataloader.num_workers=0", "model.test_cfg.rcnn.max_per_img=5"),
    *("model.train_cfg.rcnn.sampler.num=16", "val_dataloader.dataset.indices=1"),
    "train_dataloader.dataset.pipeline.2.scale=(128,128)",
    "val_dataloader.dataset.pipeline.1.scale=(128,128)",
]


@pytest.fixture
def own_set(synthetic_folder, tmp_path, monkeypatch):
    """A copy of three drawn images and their annotations: folder and content of the JSON file."""
    coco = synthetic_folder / "data" / "synthetic" / "coco"
    content = json.loads((coco / "annotations" / "instances_train2017.json").read_text())
    content["images"] = content["images"][:3]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
    (tmp_path / "images").mkdir()
    for image in content["images"]:
        shutil.copy(coco / "train2017" / image["file_name"], tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    return tmp_path, content


def train(folder, content, *options):
    (folder / "annotations.json").write_text(json.dumps(content))
    arguments = ["--work-dir", folder / "work", "--coco", folder / "images"]
    return run_inside(
        *("train.py", CONFIG, *arguments, folder / "annotations.json"),
        *("--cfg-options", *BRIEF, *options),
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_image_stops_the_training_with_its_name(own_set, capsys, workers):
    folder, content = own_set
    victim = folder / "images" / content["images"][1]["file_name"]
    victim.write_bytes(victim.read_bytes()[:-200])
    status = train(folder, content, f"train_dataloader.num_workers={workers}")
    last_line = capsys.readouterr().err.splitlines()[-1]
    assert status == 2
    assert last_line.startswith(f"error: {victim} cannot be read: it is truncated, or not an")


def test_a_missing_image_stops_the_training_with_its_name(own_set, capsys):
    folder, content = own_set
    victim = folder / "images" / content["images"][0]["file_name"]
    victim.unlink()
    assert train(folder, content, "train_dataloader.num_workers=0") == 2
    assert f"error: there is no file {victim}" in capsys.readouterr().err


def test_empty_images_and_boxes_outside_of_the_image_are_trained_around(own_set):
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
    options = ["train_dataloader.num_workers=0", "train_dataloader.batch_size=1"]
    keep_all = "train_dataloader.dataset.filter_cfg.filter_empty_gt=False"
    assert train(folder, content, *options, keep_all) == 0
    log = next((folder / "work").glob("*/*.log")).read_text()
    losses = [float(loss) for loss in re.findall(r"\bloss: (\S+)", log)]
    assert len(losses) == 3
    assert all(math.isfinite(loss) for loss in losses)


def test_a_checkpoint_of_other_classes_is_not_evaluated(
    trained, synthetic_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(synthetic_folder)
    work_dir, _ = trained
    checkpoint = torch.load(work_dir / "iter_2.pth", weights_only=False)
    checkpoint["state_dict"]["roi_head.bbox_head.fc_cls.weight"] = torch.zeros(10, 1024)
    torch.save(checkpoint, tmp_path / "other.pth")
    assert run_inside("test.py", CONFIG, tmp_path / "other.pth", "--synthetic", 8) == 2
    error = capsys.readouterr().err
    assert "roi_head.bbox_head.fc_cls.weight (10, 1024) instead of (7, 1024)" in error
    assert "another number of classes" in error


def test_heads_for_another_number_of_classes_are_not_trained(own_set, capsys):
    folder, content = own_set
    assert train(folder, content, "model.roi_head.mask_head.num_classes=80") == 2
    error = capsys.readouterr().err
    assert "annotations.json) has 6 classes" in error
    assert "model.roi_head.mask_head.num_classes=80. Set it" in error
    assert not (folder / "work").exists()
