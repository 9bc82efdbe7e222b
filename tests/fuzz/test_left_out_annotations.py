"""The counts of used annotations are those of the datasets of mmdet and mmpose."""

import functools
import json
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS, DefaultScope
from profiles import share

from uniformer_mm.datasets.synthetic.stick_figures import JOINTS
from uniformer_mm.datasets.validation.instances import Use, check_annotations
from uniformer_mm.datasets.validation.keypoints import KeypointUse, check_keypoints
from uniformer_mm.errors import UserError

pytestmark = pytest.mark.stack

SIZES = {0: (40, 30), 1: (30, 60), 2: (8, 50), 3: (64, 64)}
RUNS = {"size": [30, 40], "counts": [20, 10, 30 * 40 - 30]}
POLYGON, SHORT = [3, 4, 20, 4, 20, 10], [1, 1, 5, 5]

KINDS = {
    "sound": {},
    "crowd": {"iscrowd": 1},
    "unknown image": {"image_id": 77},
    "image id as a string": {"image_id": "1"},
    "ignore": {"ignore": 1},
    "no width": {"bbox": [3, 4, 0, 10]},
    "thin": {"bbox": [3, 4, 0.5, 10]},
    "negative height": {"bbox": [3, 4, 5, -10]},
    "outside": {"bbox": [300, 4, 5, 5]},
    "partly outside": {"bbox": [-5, -5, 9, 9]},
    "normalised": {"bbox": [0.1, 0.2, 0.5, 0.5], "keypoints": [0.1, 0.2, 2] * 17},
    "corners": {"bbox": [20, 15, 35, 28]},
    "no area": {"area": 0},
    "category of no list": {"category_id": 0},
    "other category": {"category_id": 9},
    "category as a string": {"category_id": "1"},
    "two polygons": {"segmentation": [POLYGON, POLYGON]},
    "short polygon after": {"segmentation": [POLYGON, SHORT]},
    "short polygon before": {"segmentation": [SHORT, POLYGON, [1, 2]]},
    "odd polygon": {"segmentation": [[*POLYGON, 5], POLYGON]},
    "only short": {"segmentation": [SHORT, []]},
    "runs": {"segmentation": RUNS, "image_id": 0},
    "small image": {"image_id": 2},
    "num_keypoints 0": {"num_keypoints": 0},
    "not labelled": {"keypoints": [0] * 51},
    "negative joints": {"keypoints": [-1, 0, 2] * 17},
    "no keypoints": {"keypoints": None},
    "no bbox": {"bbox": None},
    "no num_keypoints": {"num_keypoints": None},
}
REFUSED_AS_INSTANCE = ("no bbox",)


def annotation(number, image, kinds):
    entry = {"id": number, "image_id": image, "category_id": 1, "bbox": [2, 3, 5, 6], "area": 30}
    entry |= {"iscrowd": 0, "segmentation": [POLYGON]}
    entry |= {"keypoints": [0] * 6 + [5, 6, 2] * 15, "num_keypoints": 15}
    for kind in kinds:
        entry |= KINDS[kind]
    return {name: value for name, value in entry.items() if value is not None}


def file_content(drawn):
    """A file with annotations of some kinds; images are not in the order of their ids."""
    images = [
        {"id": id_, "file_name": f"{id_}.jpg", "width": width, "height": height}
        for id_, (width, height) in reversed(SIZES.items())
    ]
    entries = [annotation(100 + i, image, kinds) for i, (image, kinds) in enumerate(drawn)]
    categories = [{"id": 9, "name": "dog"}, {"id": 1, "name": "cat"}]
    return {"annotations": entries, "images": images, "categories": categories}


def annotations_of(names):
    kinds = st.lists(st.sampled_from(names), min_size=1, max_size=2)
    return st.lists(st.tuples(st.sampled_from(list(SIZES)), kinds), min_size=1, max_size=12)


def instances_of(content, path, use):
    """Count the instances that mmdet trains on, and the images."""
    filters = {"min_size": use.min_size, "filter_empty_gt": use.filter_empty_gt}
    data = {"type": "CocoDataset", "ann_file": str(path), "metainfo": {"classes": use.classes}}
    data |= {"data_prefix": {"img": ""}, "filter_cfg": filters, "test_mode": use.evaluated}
    data |= {"serialize_data": False, "indices": use.indices}
    load = {"type": "LoadAnnotations", "with_mask": use.masks, "poly2mask": not use.polygons_only}
    with DefaultScope.overwrite_default_scope("mmdet"):
        data = DATASETS.build(data)
        load = TRANSFORMS.build(load)
    count = 0
    for index in range(len(data)):
        info = data.get_data_info(index)
        info["ori_shape"] = info["height"], info["width"]
        count += int((~load(info)["gt_ignore_flags"]).sum())
    return count, len(data)


def assert_nothing_is_left(error, path):
    """The error has one line and names the file and a reason."""
    assert str(error).startswith(f"{path}: none of its ")
    assert str(error).isprintable()
    assert re.search(r" annotations can be used: [1-9]", str(error))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("left_out")


@functools.cache
def persons_metainfo():
    """COCO's metainfo, read once: that takes longer than all else."""
    folder = Path(find_spec("mmpose").origin).parent / ".mim" / "configs" / "_base_"
    return Config.fromfile(folder / "datasets" / "coco.py").to_dict()["dataset_info"]


USES = st.builds(
    Use,
    classes=st.sampled_from([("cat",), ("dog", "cat")]),
    masks=st.booleans(),
    polygons_only=st.booleans(),
    evaluated=st.booleans(),
    min_size=st.sampled_from([0, 20, 64]),
    filter_empty_gt=st.booleans(),
    indices=st.sampled_from([None, None, 2, -1, (1, 0)]),
)


@share(50)
@given(annotations_of([kind for kind in KINDS if kind not in REFUSED_AS_INSTANCE]), USES)
def test_instances(folder, drawn, use):
    path = folder / "instances.json"
    content = file_content(drawn)
    path.write_text(json.dumps(content))
    if use.evaluated:
        use = Use(**{**vars(use), "min_size": 0, "filter_empty_gt": False})
    wrong_size = use.masks and any(
        entry["segmentation"] == RUNS and entry["image_id"] not in (0, 77, "1")
        for entry in content["annotations"]
    )
    if wrong_size:
        return
    try:
        report = check_annotations(str(path), use)
    except UserError as error:
        used, images = 0, None
        assert_nothing_is_left(error, path)
        if isinstance(use.indices, tuple) and "indices" in str(error):
            return
    else:
        used, images = report.used, report.images
        said = re.search(r"(\d+) of (\d+) annotations are used in (\d+) of 4 images", report.line)
        assert said, report.line
        assert list(map(int, said.groups())) == [used, len(drawn), images]
    try:
        expected, length = instances_of(content, path, use)
    except IndexError:  # mmdet on indices of images that were left out
        return
    assert used == expected
    assert images in (None, length)


@share(50)
@given(
    annotations_of([kind for kind in KINDS if kind != "category as a string"]),
    st.booleans(),
    st.sampled_from([1, 1, 2]),
    st.sampled_from([None, None, 2, -1]),
)
def test_persons(folder, drawn, bottom_up, interval, indices):
    path = folder / "persons.json"
    content = file_content(drawn)
    content["categories"] = [{"id": 1, "name": "person"}, {"id": 9, "name": "dog"}]
    path.write_text(json.dumps(content))
    indices = None if bottom_up else indices
    use = KeypointUse(JOINTS, bottom_up=bottom_up, sample_interval=interval, indices=indices)
    try:
        used = check_keypoints(str(path), use).used
    except UserError as error:
        used = 0
        assert_nothing_is_left(error, path)
    data = {"type": "CocoDataset", "ann_file": str(path), "data_prefix": {"img": ""}}
    data |= {"sample_interval": interval, "indices": use.indices, "serialize_data": False}
    data["metainfo"] = persons_metainfo()
    with DefaultScope.overwrite_default_scope("mmpose"):
        data = DATASETS.build({**data, "data_mode": "bottomup" if bottom_up else "topdown"})
    infos = [data.get_data_info(index) for index in range(len(data))]
    assert used == sum(len(info["bbox"]) for info in infos)
    assert all(np.isfinite(info["keypoints"]).all() for info in infos)
