"""Keypoints that an annotation file names become metainfo and outputs of a pose model."""

import json

import numpy as np
import pytest
from drawn_formats import JOINTS, draw, write_cvat, write_yolo
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from small_models import CONFIGS, ROOT

from uniformer_mm.datasets.conversion.coco_files import Split, convert
from uniformer_mm.datasets.keypoint_meta import SIGMA, keypoint_metainfo
from uniformer_mm.datasets.synthetic.stick_figures import JOINTS as COCO_JOINTS
from uniformer_mm.errors import UserError
from uniformer_mm.tasks import task_of


def write(path, *categories):
    named = [{"id": i, "name": str(i), **category} for i, category in enumerate(categories)]
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": named}))
    return str(path)


NAMES = ["Nose", "left eye", "right eye"]


def test_names_sides_and_links(tmp_path):
    file = write(tmp_path / "a.json", {"keypoints": NAMES, "skeleton": [[1, 2], [3, 1]]}, {})
    meta = keypoint_metainfo(file)
    assert [(info["name"], info["swap"]) for info in meta["keypoint_info"].values()] == [
        ("nose", ""),
        ("left_eye", "right_eye"),
        ("right_eye", "left_eye"),
    ]
    links = [info["link"] for info in meta["skeleton_info"].values()]
    assert links == [("nose", "left_eye"), ("right_eye", "nose")]
    assert meta["sigmas"] == [SIGMA] * 3


def test_flip_idx_replaces_the_names_of_sides(tmp_path):
    file = write(tmp_path / "a.json", {"keypoints": ["a", "b", "c"], "flip_idx": [2, 1, 0]})
    infos = keypoint_metainfo(file)["keypoint_info"].values()
    assert [info["swap"] for info in infos] == ["c", "", "a"]


def test_a_file_without_names_has_no_metainfo(tmp_path):
    assert keypoint_metainfo(write(tmp_path / "a.json", {"keypoints": []}, {})) is None


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ([{"keypoints": NAMES}, {"keypoints": NAMES[:2]}], "categories with different keypoints"),
        ([{"keypoints": ["a", "a"]}], "a keypoint twice: a, a"),
        ([{"keypoints": ["a", "b"], "flip_idx": [0, 0]}], r"flip_idx \[0, 0\], expected the index"),
        ([{"keypoints": ["a", "b"], "flip_idx": [1]}], r"flip_idx \[1\]"),
        ([{"keypoints": ["a", "b"], "skeleton": [[0, 1]]}], "index beyond its 2 keypoints"),
    ],
)
def test_faults_are_named(tmp_path, categories, message):
    with pytest.raises(UserError, match=message):
        keypoint_metainfo(write(tmp_path / "a.json", *categories))


@pytest.mark.stack
@pytest.mark.parametrize("format_", ["yolo", "cvat"])
def test_a_pose_config_takes_the_keypoints_of_another_format(format_, tmp_path):
    if format_ == "yolo":
        write_yolo(tmp_path / "own", kind="pose", flip_idx=[2, 1, 0])
    else:
        write_cvat(tmp_path / "own", kind="skeleton")
    files = convert(format_, tmp_path / "own", tmp_path / "out", Split())
    cfg = Config.fromfile(ROOT / CONFIGS["pose"])
    task_of(cfg).use_coco_data(
        cfg,
        images={"train": files.images, "val": files.images},
        annotations={"train": files.train, "val": files.val},
    )
    task_of(cfg).check_data(cfg, ("train",))
    assert cfg.model.head.out_channels == 3
    dataset = {**cfg.train_dataloader.dataset, "pipeline": []}
    with DefaultScope.overwrite_default_scope("mmpose"):
        built = DATASETS.build(dataset)
    swapped = [2, 1, 0] if format_ == "yolo" else [0, 1, 2]
    assert built.metainfo["flip_indices"] == swapped
    assert list(built.metainfo["keypoint_id2name"].values()) == list(JOINTS)
    objects = {picture.file: picture.objects for picture in draw()}
    sample = built[0]
    first = objects[sample["img_path"].rpartition("/")[2]][0]
    np.testing.assert_allclose(sample["keypoints"][0], np.array(first.keypoints)[:, :2], atol=1e-3)
    assert sample["keypoints_visible"][0].tolist() == [1, 1, 0]


def test_coco_keypoints_keep_the_metainfo_of_the_config(tmp_path):
    cfg = Config.fromfile(ROOT / CONFIGS["pose"])
    before = cfg.train_dataloader.dataset.get("metainfo")
    file = write(tmp_path / "a.json", {"keypoints": list(COCO_JOINTS)})
    folder = {"train": str(tmp_path), "val": str(tmp_path)}
    task_of(cfg).use_coco_data(cfg, folder, {"train": file, "val": file})
    assert cfg.train_dataloader.dataset.get("metainfo") == before
    assert cfg.model.head.out_channels == 17
