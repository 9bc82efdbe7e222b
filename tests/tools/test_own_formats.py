"""The tools take datasets of other formats, and split them."""

import json

import pytest
from drawn_formats import write_voc, write_yolo
from mmengine.config import Config
from own_data import ONE_EPOCH
from running import run_inside
from small_models import CONFIGS, DETECTOR, ROOT


@pytest.fixture
def detector(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "detector.py").write_text(DETECTOR)
    return tmp_path / "detector.py"


@pytest.mark.stack
def test_a_yolo_folder_is_trained_and_evaluated(detector, tmp_path, capfd):
    write_yolo(tmp_path / "own set")
    data = ("--yolo", "own set", "--val-share", "0.5", "--split-seed", 3)
    options = ("--work-dir", "work", "--cfg-options", *ONE_EPOCH)
    assert not run_inside("train.py", detector, *data, *options)
    output = "".join(capfd.readouterr())
    line = "--yolo own set: 8 objects of 2 classes, 8 with masks, 3 images for training, 3 images"
    assert f"{line} for validation (--val-share 0.5), in data/converted/yolo-own set-" in output
    assert "Epoch(train) [1][1/1]" in output
    assert "coco/segm_mAP: " in output
    cfg = Config.fromfile(tmp_path / "work" / "detector.py")
    assert cfg.train_dataloader.dataset.metainfo.classes == ("leaf", "stem")
    assert cfg.model.roi_head.bbox_head.num_classes == cfg.model.roi_head.mask_head.num_classes == 2
    assert cfg.train_dataloader.dataset.ann_file != cfg.val_dataloader.dataset.ann_file


@pytest.mark.stack
def test_samples_of_a_voc_folder_are_drawn(detector, tmp_path, capfd):
    write_voc(tmp_path / "own", masks=True)
    options = ("--split", "val", "--count", 2, "--cfg-options")
    scale = "val_dataloader.dataset.pipeline.1.scale=(128,128)"
    assert not run_inside("browse_dataset.py", detector, "--voc", "own", *options, scale)
    assert "images in samples" in "".join(capfd.readouterr())
    assert (tmp_path / "samples" / "000_val0.png").is_file()


@pytest.mark.stack
def test_one_coco_file_is_split(own_set, capsys):
    folder, content = own_set
    (folder / "all.json").write_text(json.dumps(content))
    command = ("browse_dataset.py", folder / "detector.py", "--coco", folder / "images", "all.json")
    assert not run_inside(*command, "--val-share", "0.34", "--count", 1, "--overwrite")
    (out,) = (folder / "data" / "converted").iterdir()
    train, val = (json.loads((out / f"{name}.json").read_text()) for name in ("train", "val"))
    assert [len(part["images"]) for part in (train, val)] == [2, 1]
    assert len(train["annotations"]) + len(val["annotations"]) == len(content["annotations"])
    for part in (train, val):
        assert part["categories"] == content["categories"]
        ids = {image["id"] for image in part["images"]}
        assert {annotation["image_id"] for annotation in part["annotations"]} <= ids


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--val-share", "0.2"), "--val-share splits the dataset of one of --coco, --yolo, --voc"),
        (("--coco", "images", "a", "b", "--val-share", "0.2"), "leave out VAL.json of --coco"),
        (("--coco", "images", "a.json", "--val-share", "0.2"), "no annotation file a.json"),
        (("--yolo", "own", "--val-share", "20"), "--val-share must be between 0 and 1, got 20.0"),
        (("--yolo", "own"), "there is no folder or file own: --yolo takes"),
    ],
)
def test_mistakes_are_one_line(detector, capsys, options, message):
    assert run_inside("browse_dataset.py", detector, *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_segmentation_needs_a_config_for_own_data(tmp_path, capsys):
    assert run_inside("browse_dataset.py", ROOT / CONFIGS["seg"], "--yolo", tmp_path) == 2
    assert "--yolo is for detection and pose, not for configs of mmseg" in capsys.readouterr().err


@pytest.mark.stack
def test_boxes_without_masks_say_which_config_trains_them(detector, tmp_path, capsys):
    write_yolo(tmp_path / "own", kind="detect")
    assert run_inside("browse_dataset.py", detector, "--yolo", "own") == 2
    assert "take configs/det/faster_rcnn_uniformer_s.py" in capsys.readouterr().err
