"""Pose: what the synthetic recipe keeps, own annotations, and faulty data."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from runs import forget_runs
from small_models import read_config

from uniformer_mm.apis.cli import make_parser
from uniformer_mm.apis.config import prepare_config
from uniformer_mm.apis.diagnosis import diagnose
from uniformer_mm.apis.launch import build_runner
from uniformer_mm.errors import UserError
from uniformer_mm.tasks import task_of
from uniformer_mm.tasks.mmpose import CROP

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / "configs" / "pose" / "td_hm_uniformer_s_256x192.py")
BRIEF = [
    *("model.backbone.init_cfg=None", "default_hooks.checkpoint.save_best=None"),
    "default_hooks.logger.interval=1",
    *("train_dataloader.num_workers=0", "train_dataloader.persistent_workers=False"),
    *("val_dataloader.num_workers=0", "val_dataloader.persistent_workers=False"),
    *("test_dataloader.num_workers=0", "test_dataloader.persistent_workers=False"),
]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Working directory with a few synthetic persons below data/synthetic."""
    folder = tmp_path_factory.mktemp("pose")
    cfg = read_config(CONFIG)
    task_of(cfg).use_synthetic_data(cfg, 8, folder / "data" / "synthetic")
    return folder


def prepare(folder, *arguments, options=(), splits=("train", "val", "test")):
    """The config of a command line of tools/train.py, with few blocks."""
    forget_runs()
    command = [CONFIG, "--work-dir", str(folder / "work"), *map(str, arguments)]
    command += ["--cfg-options", *BRIEF, *options]
    cfg = prepare_config(make_parser(None).parse_args(command), splits)
    cfg.model.backbone.arch = {"depths": (1, 1, 1, 1)}
    return cfg


def train(cfg):
    runner = build_runner(cfg, exact_checkpoint=False)
    runner.train()
    return runner


def score(runner, name="coco/AP"):
    return runner.message_hub.get_scalar(f"val/{name}").current()


# --------------------------------------------------------------------------------------- synthetic


def test_the_synthetic_recipe_keeps_the_flip_test_the_boxes_and_the_decay(drawn, monkeypatch):
    monkeypatch.chdir(drawn)
    cfg = prepare(drawn, "--synthetic", 8)
    assert cfg.model.test_cfg == {"flip_test": True, "flip_mode": "heatmap", "shift_heatmap": True}
    for split in ("val", "test"):
        dataset = cfg[f"{split}_dataloader"].dataset
        assert dataset.bbox_file.endswith("COCO_val2017_detections_AP_H_56_person.json")
        assert Path(dataset.bbox_file).is_file()
    assert cfg.optim_wrapper.optimizer.weight_decay == 0.01
    sizes = [
        step["input_size"]
        for split in ("train", "val", "test")
        for step in cfg[f"{split}_dataloader"].dataset.pipeline
        if "input_size" in step
    ]
    assert sizes == [CROP] * 3
    encoder = cfg.train_dataloader.dataset.pipeline[-2].encoder
    for codec in (encoder, cfg.model.head.decoder):
        assert codec.heatmap_size == (CROP[0] // 4, CROP[1] // 4)
    assert cfg.model.head.norm_cfg.type == "BN", "no SyncBN without a GPU"
    cfg.model.test_cfg.flip_test = False
    task_of(cfg).use_test_time_augmentation(cfg)
    assert cfg.model.test_cfg.flip_test


# ---------------------------------------------------------------------------------------- own data


@pytest.fixture
def own(drawn, tmp_path, monkeypatch):
    """The content of an annotation file, and a function that prepares a config for it."""
    monkeypatch.chdir(tmp_path)
    coco = drawn / "data" / "synthetic" / "8" / "coco_keypoints"
    content = json.loads((coco / "annotations/person_keypoints_val2017.json").read_text())

    def prepare_own(content, *options):
        (tmp_path / "own.json").write_text(json.dumps(content))
        options = ["train_cfg.max_epochs=1", "train_cfg.val_interval=1", *options]
        arguments = ["--coco", coco / "val2017", tmp_path / "own.json"]
        return prepare(tmp_path, *arguments, options=options)

    return content, prepare_own


def test_own_annotations_train_and_are_evaluated_with_their_own_boxes(own):
    content, prepare_own = own
    cfg = prepare_own(
        content,
        "train_dataloader.batch_size=2",
        "val_dataloader.batch_size=4",
        "train_dataloader.dataset.indices=4",
    )
    assert cfg.model.head.out_channels == 17
    assert cfg.val_dataloader.dataset.bbox_file is None
    assert "metainfo" not in cfg.train_dataloader.dataset
    runner = train(cfg)
    assert runner.iter == 2
    labelled = [person for person in content["annotations"] if person["num_keypoints"]]
    assert len(runner.val_dataloader.dataset) == len(labelled)
    assert 0 <= score(runner) <= 1


def test_boxes_outside_of_images_are_left_out_and_others_clipped(own):
    content, prepare_own = own
    labelled = [person for person in content["annotations"] if person["num_keypoints"]]
    assert len(labelled) >= 3
    outside, no_size, cut = labelled[:3]
    outside["bbox"][0] = 5000
    no_size["bbox"][2:] = [0, 0]
    cut["bbox"] = [-50, 10, 100, 60]
    unlabelled = copy.deepcopy(labelled[-1])
    unlabelled.update(id=10**6, keypoints=[0] * 51, num_keypoints=0)
    content["annotations"].append(unlabelled)
    content["images"].append({**content["images"][0], "id": 10**6})  # without persons
    cfg = prepare_own(content)
    from mmengine.registry import DATASETS, init_default_scope

    init_default_scope("mmpose")
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(dataset) == len(labelled) - 2
    assert dataset[0]["inputs"].shape == (3, 256, 192)
    boxes = {
        dataset.get_data_info(i)["id"]: dataset.get_data_info(i)["bbox"]
        for i in range(len(dataset))
    }
    np.testing.assert_array_equal(boxes[cut["id"]], [[0, 10, 50, 70]])


def test_other_joints_and_faulty_boxes_are_refused(own, tmp_path):
    content, prepare_own = own
    content["categories"][0]["keypoints"] = ["paw"] * 4
    with pytest.raises(UserError, match="a keypoint twice: paw, paw"):
        prepare_own(content)
    content["categories"][0].update(keypoints=["nose", "tail", "paw", "ear"], skeleton=[])
    with pytest.raises(UserError, match="expected x, y and visibility of 4 keypoints"):
        prepare_own(content)
    del content["categories"][0]["keypoints"]
    (tmp_path / "boxes.json").write_text("[]")
    with pytest.raises(UserError, match=r"boxes\.json has no box of category 1"):
        prepare_own(content, f"val_dataloader.dataset.bbox_file={tmp_path / 'boxes.json'}")


def test_a_missing_image_stops_the_training_with_its_name(own):
    content, prepare_own = own
    for image in content["images"]:
        image["file_name"] = "absent.jpg"
    with pytest.raises(FileNotFoundError) as error:
        train(prepare_own(content))
    assert diagnose(error.value).startswith("there is no file ")
    assert "val2017/absent.jpg." in diagnose(error.value)


# ------------------------------------------------------------------------------------ missing data


ONE_PERSON = {
    "images": [{"id": 1, "file_name": "1.jpg", "width": 9, "height": 9}],
    "annotations": [
        {
            **{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81},
            **{"iscrowd": 0, "keypoints": [3, 4, 2] * 17},
        }
    ],
    "categories": [{"id": 1, "name": "person"}],
}


def test_missing_boxes_are_named_with_what_to_do_without_them(tmp_path, monkeypatch):
    coco = tmp_path / "data" / "coco"
    for folder in ("annotations", "train2017", "val2017"):
        (coco / folder).mkdir(parents=True)
    for split in ("train", "val"):
        file = coco / f"annotations/person_keypoints_{split}2017.json"
        file.write_text(json.dumps(ONE_PERSON))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        prepare(tmp_path)
    listed = str(error.value).split("COCO 2017")[0]
    assert (
        "data/coco/person_detection_results/COCO_val2017_detections_AP_H_56_person.json" in listed
    )
    assert "annotations" not in listed
    assert "val_dataloader.dataset.bbox_file=None" in str(error.value)
    no_boxes = [f"{split}_dataloader.dataset.bbox_file=None" for split in ("val", "test")]
    assert prepare(tmp_path, options=no_boxes).val_dataloader.dataset.bbox_file is None
