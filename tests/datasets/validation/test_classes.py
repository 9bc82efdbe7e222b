"""Numbers of classes are found, compared and set in every setting where they stand."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import DATASETS, init_default_scope

from uniformer_mm.apis.config import load_config
from uniformer_mm.datasets.overrides import dataset_configs, evaluators, use_coco_data
from uniformer_mm.datasets.validation.classes import check_class_counts, check_class_names
from uniformer_mm.datasets.validation.num_classes import (
    class_counts,
    class_settings,
    set_num_classes,
)
from uniformer_mm.errors import UserError

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[3]
ALL = ("train", "val", "test")


def counts(cfg):
    return {setting.path: setting.count for setting in class_settings(cfg.model)}


# ------------------------------------------------------------------------------ finding and setting


def test_heads_at_any_depth_are_set_but_for_those_with_classes_of_their_own():
    model = {
        "roi_head": {"bbox_head": [{"num_classes": 80}, {"num_classes": 80}]},
        "rpn_head": {"type": "FCOSHead", "num_classes": 1},
        "semantic_head": {"num_classes": 183},
        "auxiliary_head": [{"type": "STDCHead", "num_classes": 2}],
        "backbone": {"num_classes": 1000},
        "train_cfg": {"augments": {"num_classes": 80}},
    }
    set_num_classes(model, 5)
    assert {setting.path: setting.count for setting in class_settings(model)} == {
        "model.roi_head.bbox_head[0].num_classes": 5,
        "model.roi_head.bbox_head[1].num_classes": 5,
        "model.train_cfg.augments.num_classes": 5,
    }
    assert model["rpn_head"]["num_classes"] == 1
    assert model["semantic_head"]["num_classes"] == 183


def test_class_weights_get_the_length_of_the_classes_and_the_background():
    model = {"num_things_classes": 3, "num_stuff_classes": 1}
    model["loss_cls"] = {"class_weight": [1.0, 1.0, 1.0, 1.0, 0.1]}
    assert class_counts(model) == {3, 4}
    set_num_classes(model, 2, num_stuff=1)
    assert model["num_things_classes"] == 2
    assert model["loss_cls"]["class_weight"] == [1.0, 1.0, 1.0, 0.1]
    model["loss_cls"]["class_weight"] = [1.0, 2.0, 1.0, 0.1]
    with pytest.raises(UserError, match=r"model\.loss_cls\.class_weight has weights of 4 classes"):
        set_num_classes(model, 5)


@pytest.mark.parametrize(
    "name",
    [
        "mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py",
        "mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py",
        "mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py",
        "mmdet::htc/htc_r50_fpn_1x_coco.py",
        "mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py",
        "mmdet::solo/solo_r50_fpn_1x_coco.py",
        "mmseg::mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py",
        "mmseg::stdc/stdc1_4xb12-80k_cityscapes-512x1024.py",
        "mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py",
        "mmaction::recognition/mvit/mvit-small-p244_32xb16-16x4x1-200e_kinetics400-rgb.py",
        "mmpretrain::resnet/resnet50_8xb32-cutmix_in1k.py",
    ],
)
def test_configs_of_the_codebases_agree_with_their_data_and_each_changed_place_is_named(name):
    cfg = get_config(name)
    check_class_counts(cfg, ALL)
    settings = list(class_settings(cfg.model))
    assert settings
    for setting in settings:
        value = setting.node[setting.key]
        for other in (
            [value[:-1], [*value, 1.0]] if setting.kind == "weights" else [value - 1, value + 1]
        ):
            if setting.path.endswith("cls_head.num_classes") and "blending" not in str(cfg.model):
                continue
            setting.node[setting.key] = other
            with pytest.raises(UserError) as error:
                check_class_counts(cfg, ("train",))
            assert setting.path in str(error.value)
            assert str(len(other) if setting.kind == "weights" else other) in str(error.value)
        setting.node[setting.key] = value
    check_class_counts(cfg, ALL)


def test_both_numbers_and_the_data_are_named():
    cfg = get_config("mmdet::retinanet/retinanet_r50_fpn_1x_coco.py")
    cfg.train_dataloader.dataset.metainfo = {"classes": ("cat", "dog")}
    message = (
        r"^the dataset for train \(annotations/instances_train2017\.json\) has 2 classes"
        r" \(cat, dog\), .* model\.bbox_head\.num_classes=80\. Set it, or metainfo"
    )
    with pytest.raises(UserError, match=message):
        check_class_counts(cfg, ("train",))
    check_class_counts(cfg, ("val", "test"))


def test_a_pose_model_of_merged_sets_is_tested_on_some_of_its_keypoints():
    cfg = get_config(
        "mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py"
    )
    cfg.model.head.out_channels = 19
    cfg.model.test_cfg.output_keypoint_indices = list(range(17))
    check_class_counts(cfg, ("val", "test"))
    with pytest.raises(UserError, match=r"17 keypoints, .* model\.head\.out_channels=19"):
        check_class_counts(cfg, ("train",))


def test_classifiers_of_videos_have_the_number_of_their_datasets_and_blending():
    cfg = load_config(str(ROOT / "configs" / "video" / "uniformer_s_16x4_ucf101.py"))
    check_class_counts(cfg, ALL)
    for count in (100, 102):
        set_num_classes(cfg.model, count)
        message = rf"101 classes, .*cls_head\.num_classes={count}, .*blending.*{count}\."
        with pytest.raises(UserError, match=message):
            check_class_counts(cfg, ALL)
    cfg.model.data_preprocessor.blending.num_classes = 101
    with pytest.raises(UserError, match=r"different numbers of classes: .*=102, .*=101\."):
        check_class_counts(cfg, ())
    set_num_classes(cfg.model, 102)
    for _, dataset in dataset_configs(cfg):
        del dataset["num_classes"]
    check_class_counts(cfg, ALL)


# ------------------------------------------------------------------------------------------- names


def names_config(dataset):
    return Config({"train_dataloader": {"dataset": dataset}})


@pytest.mark.parametrize(
    "dataset",
    [
        {"type": "CocoDataset", "metainfo": {"classes": "ship"}},
        {"type": "BaseSegDataset", "metainfo": {"classes": "ship"}},
        {"type": "VideoDataset", "metainfo": {"classes": "ship"}},
        {"type": "CustomDataset", "classes": "ship"},
        {"type": "RepeatDataset", "dataset": {"metainfo": {"classes": "ship"}}},
    ],
)
def test_a_name_without_a_comma_is_refused(dataset):
    with pytest.raises(UserError, match=r"for train is the string 'ship'.*classes=\('ship',\)"):
        check_class_names(names_config(dataset), ("train", "val"))
    check_class_names(names_config(dataset), ("test",))


@pytest.mark.parametrize("classes", [("ship",), ["ship"], None, "s3://names.txt"])
def test_names_and_files_pass(classes, tmp_path):
    check_class_names(names_config({"metainfo": {"classes": classes}}), ("train",))
    (tmp_path / "names.txt").write_text("ship\n")
    names = str(tmp_path / "names.txt")
    check_class_names(names_config({"metainfo": {"classes": names}, "classes": names}), ("train",))


# ------------------------------------------------------------------------------------------- --coco


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """Image folder, instances and panoptic annotations of one image; ids are not in order."""
    folder = tmp_path_factory.mktemp("pets")
    (folder / "panoptic").mkdir()
    cv2.imwrite(str(folder / "1.jpg"), np.zeros((48, 64, 3), np.uint8))
    cv2.imwrite(str(folder / "panoptic" / "1.png"), np.full((48, 64, 3), 1, np.uint8))
    images = [{"id": 1, "file_name": "1.jpg", "width": 64, "height": 48}]
    box = {"category_id": 9, "bbox": [4, 4, 20, 20], "area": 400, "iscrowd": 0}
    polygon = [[4, 4, 24, 4, 24, 24]]
    categories = [
        {"id": 9, "name": "dog", "isthing": 1},
        {"id": 3, "name": "cat", "isthing": 1},
        {"id": 5, "name": "sky", "isthing": 0},
    ]
    instances = {
        "images": images,
        "annotations": [{"id": 1, "image_id": 1, "segmentation": polygon, **box}],
        "categories": categories[:2],
    }
    segments = {"image_id": 1, "file_name": "1.png", "segments_info": [{"id": 1, **box}]}
    panoptic = {"images": images, "annotations": [segments], "categories": categories}
    (folder / "instances.json").write_text(json.dumps(instances))
    (folder / "panoptic.json").write_text(json.dumps(panoptic))
    return folder


def redirect(cfg, pets, file="instances.json"):
    init_default_scope(cfg.default_scope)
    folder, path = str(pets), str(pets / file)
    use_coco_data(cfg, {"train": folder, "val": folder}, {"train": path, "val": path})
    check_class_counts(cfg, ALL)
    return DATASETS.build({**cfg.val_dataloader.dataset, "pipeline": []})


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mask2former/mask2former_r50_8xb2-lsj-50e_coco.py", (2, 0, 3, 2, 0)),
        ("htc/htc_r50_fpn_1x_coco.py", (2,) * 6),
        ("queryinst/queryinst_r50_fpn_1x_coco.py", (2,) * 12),
        ("yolact/yolact_r50_1xb8-55e_coco.py", (2, 2)),
        ("seesaw_loss/mask-rcnn_r50_fpn_seesaw-loss_random-ms-2x_lvis-v1.py", (2, 2, 2)),
        ("pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py", (2,)),
        ("openimages/retinanet_r50_fpn_32xb2-1x_openimages.py", (2,)),
        ("cityscapes/mask-rcnn_r50_fpn_1x_cityscapes.py", (2, 2)),
    ],
)
def test_coco_sets_all_of_them_in_configs_of_mmdet(name, settings, pets):
    cfg = get_config(f"mmdet::{name}")
    dataset = redirect(cfg, pets)
    assert tuple(counts(cfg).values()) == settings
    assert dataset.metainfo["classes"] == ("dog", "cat")
    assert dataset.get_data_info(0)["instances"][0]["bbox_label"] == 0, "a dog"
    for _, leaf in dataset_configs(cfg):
        assert leaf.data_prefix == {"img": f"{pets}/"}
    for _, metric in evaluators(cfg):
        assert metric["type"] == "CocoMetric"
        assert metric["ann_file"] == str(pets / "instances.json")
    assert (
        "semantic_head" not in cfg.model.get("roi_head", {}) or not cfg.model.roi_head.semantic_head
    )


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py", (2, 2, 2, 1, 2, 1)),
        ("mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py", (2, 1, 4, 2, 1)),
    ],
)
def test_panoptic_configs_take_panoptic_annotations(name, settings, pets):
    cfg = get_config(f"mmdet::{name}")
    with pytest.raises(UserError, match=r"no folder .*instances with the segment maps of"):
        redirect(cfg, pets)
    (pets / "instances").mkdir(exist_ok=True)
    with pytest.raises(UserError, match=r"instances\.json has no panoptic annotations"):
        redirect(cfg, pets)
    (pets / "instances").rmdir()
    dataset = redirect(cfg, pets, "panoptic.json")
    assert tuple(counts(cfg).values()) == settings
    assert dataset.metainfo["thing_classes"] == ("dog", "cat")
    assert dataset.get_data_info(0)["seg_map_path"] == str(pets / "panoptic" / "1.png")


def test_coco_is_not_for_videos(pets):
    cfg = get_config(
        "mmdet::masktrack_rcnn/masktrack-rcnn_mask-rcnn_r50_fpn_8xb1-12e_youtubevis2019.py"
    )
    with pytest.raises(UserError, match="not for YouTubeVISDataset"):
        redirect(cfg, pets)
