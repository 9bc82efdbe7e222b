"""Faulty images, annotations and checkpoints: training continues, or names the file."""

import re

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from own_data import train
from running import run_inside

pytestmark = pytest.mark.stack


@pytest.mark.parametrize(("kept", "workers"), [(-200, 0), (-200, 1), (None, 0)])
def test_an_image_that_cannot_be_read_stops_training_with_its_name(own_set, capsys, kept, workers):
    folder, content = own_set
    victim = folder / "images" / content["images"][1]["file_name"]
    whole = victim.read_bytes()
    victim.unlink()
    if kept:
        victim.write_bytes(whole[:kept])
    assert train(folder, content, f"train_dataloader.num_workers={workers}") == 2
    last_line = capsys.readouterr().err.splitlines()[-1]
    assert re.match(rf"error: (there is no file )?{victim}", last_line)


def test_a_checkpoint_of_other_classes_is_not_evaluated(own_set, tmp_path, capsys):
    config, checkpoint = tmp_path / "detector.py", tmp_path / "other.pth"
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(Config.fromfile(config).model)
    torch.save({"state_dict": model.state_dict()}, checkpoint)
    assert run_inside("test.py", config, checkpoint, "--synthetic", 4) == 2
    error = capsys.readouterr().err
    assert "roi_head.bbox_head.fc_cls.weight (81, 32) instead of (7, 32)" in error
    assert "another number of classes" in error


def test_heads_for_another_number_of_classes_are_not_trained(own_set, capsys):
    folder, content = own_set
    assert train(folder, content, "model.roi_head.mask_head.num_classes=80") == 2
    error = capsys.readouterr().err
    assert "annotations.json) has 6 classes" in error
    assert "model.roi_head.mask_head.num_classes=80" in error
    assert not (folder / "work").exists()
