"""Configs are pointed to other data."""

import json

import pytest
from mmengine.config import Config

from uniformer_mm.datasets.overrides import (
    coco_classes,
    distinct_colours,
    missing_data,
    use_coco_data,
)
from uniformer_mm.errors import UserError


def write_coco(path, names=("cat", "dog"), first_id=7):
    categories = [{"id": first_id + i, "name": name} for i, name in enumerate(names)]
    content = {"images": [], "annotations": [], "categories": categories[::-1]}
    path.write_text(json.dumps(content))
    return str(path)


def make_config(dataset=None):
    dataset = dataset or {"type": "CocoDataset", "data_root": "data/coco/"}
    return Config(
        {
            "default_scope": "mmdet",
            "train_dataloader": {"dataset": dataset},
            "val_dataloader": {"dataset": {"type": "CocoDataset"}},
            "val_evaluator": {"type": "CocoMetric"},
            "model": {"roi_head": {"bbox_head": [{"num_classes": 80}, {"num_classes": 80}]}},
        }
    )


@pytest.mark.parametrize(
    "dataset",
    [
        {"type": "CocoDataset"},
        {"type": "RepeatDataset", "times": 2, "dataset": {"type": "CocoDataset"}},
        {"type": "ConcatDataset", "datasets": [{"type": "CocoDataset"}]},
    ],
)
def test_every_dataset_metric_and_head_is_set(tmp_path, dataset):
    cfg = make_config(dataset)
    train, val = write_coco(tmp_path / "train.json"), write_coco(tmp_path / "val.json")
    folder = str(tmp_path)
    use_coco_data(cfg, {"train": folder, "val": folder}, {"train": train, "val": val})
    leaf = cfg.train_dataloader.dataset
    leaf = leaf.get("dataset") or leaf.get("datasets", [leaf])[0]
    assert leaf.ann_file == train
    assert leaf.metainfo.classes == ("dog", "cat")
    assert len(leaf.metainfo.palette) == 2
    assert cfg.val_dataloader.dataset.ann_file == cfg.val_evaluator.ann_file == val
    assert [head.num_classes for head in cfg.model.roi_head.bbox_head] == [2, 2]
    assert missing_data(cfg, ("train", "val")) == ("", [])


@pytest.mark.parametrize("names", [("cat",), ("dog", "cat")])
def test_both_files_need_the_same_categories_in_the_same_order(tmp_path, names):
    files = {"train": write_coco(tmp_path / "train.json")}
    files["val"] = write_coco(tmp_path / "val.json", names)
    with pytest.raises(UserError, match=rf"{files['train']} and {files['val']}"):
        use_coco_data(make_config(), {"train": str(tmp_path), "val": str(tmp_path)}, files)


@pytest.mark.parametrize("content", ["{}", "[]", "not json", '{"categories": [{"name": "x"}]}'])
def test_other_files_are_named(tmp_path, content):
    path = tmp_path / "annotations.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"annotations\.json is not in COCO format"):
        coco_classes(str(path))


def test_missing_image_folder_is_named(tmp_path):
    file = write_coco(tmp_path / "a.json")
    folder = str(tmp_path / "absent")
    with pytest.raises(UserError, match=r"no image folder .*absent"):
        use_coco_data(make_config(), {"train": folder, "val": folder}, {"train": file, "val": file})


def test_only_the_data_that_will_be_read_is_checked(tmp_path):
    cfg = make_config({"type": "CocoDataset", "ann_file": str(tmp_path / "absent.json")})
    assert missing_data(cfg, ("val",)) == ("", [])
    assert missing_data(cfg, ("train",)) == ("", [tmp_path / "absent.json"])


def test_colours_are_distinct():
    assert len(set(distinct_colours(80))) == 80
