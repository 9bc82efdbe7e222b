"""Annotation files with any fault are refused by name, or read to the end."""

import json

import cv2
import numpy as np
import pytest
from damage import changed, damaged
from hypothesis import given
from hypothesis import strategies as st
from mmdet.datasets import CocoDataset
from mmpose.datasets import CocoDataset as CocoPersons
from profiles import share

from uniformer_mm.datasets.synthetic.stick_figures import JOINTS
from uniformer_mm.datasets.transforms.segmentation_transforms import LoadLabelMap
from uniformer_mm.datasets.validation.instances import Use, check_annotations
from uniformer_mm.datasets.validation.keypoints import (
    KeypointUse,
    check_boxes,
    check_keypoints,
)
from uniformer_mm.datasets.video_dataset import CheckedVideoDataset
from uniformer_mm.errors import UserError

pytestmark = pytest.mark.stack

SIZE = 40
RUNS = {"size": [SIZE, SIZE], "counts": [SIZE, 10, SIZE * SIZE - SIZE - 10]}


def annotation(number, mask, **others):
    box = {"bbox": [3, 4, 20, 10], "area": 200, "iscrowd": 0}
    ids = {"id": number, "image_id": number % 2, "category_id": 1}
    return {**ids, **box, "segmentation": mask, **others}


INSTANCES = {
    "images": [
        {"id": number, "file_name": f"{number}.jpg", "width": SIZE, "height": SIZE}
        for number in range(2)
    ],
    "annotations": [
        annotation(1, [[3, 4, 20, 4, 20, 10]]),
        annotation(2, RUNS, iscrowd=1),
        annotation(3, [[3, 4, 20, 4, 20, 10], [1, 1, 5, 1, 5, 5, 1, 5]]),
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}],
}
PERSONS = {
    **INSTANCES,
    "annotations": [
        annotation(number, RUNS, keypoints=[5, 6, 2] * 17, num_keypoints=17) for number in (1, 2)
    ],
    "categories": [{"id": 1, "name": "person", "keypoints": list(JOINTS)}],
}
BOXES = [
    {"image_id": number, "category_id": 1, "bbox": [3, 4, 20, 10], "score": 0.5}
    for number in range(2)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("annotations")


def accepted(path, content, check, *files):
    """Whether a file passes a check; otherwise the error names it."""
    path.write_text(json.dumps(content))
    try:
        check(str(path), *files)
    except UserError as error:
        assert_names(error, path)
        return False
    return True


def assert_names(error, path):
    """The error starts with the file at fault and has one line."""
    assert str(error).startswith(str(path))
    assert str(error).isprintable()


@share(50)
@given(changed(INSTANCES), st.booleans())
def test_instances(folder, content, evaluated):
    def check(path):
        check_annotations(path, Use(("cat", "dog"), masks=True, evaluated=evaluated))

    path = folder / "instances.json"
    if accepted(path, content, check):
        options = {"metainfo": {"classes": ("cat", "dog")}, "data_prefix": {"img": "images"}}
        data = CocoDataset(ann_file=str(path), test_mode=evaluated, **options)
        for index in range(len(data)):
            data.get_data_info(index)


@share(50)
@given(changed(PERSONS), st.booleans())
def test_persons(folder, content, evaluated):
    def check(path):
        check_keypoints(path, KeypointUse(JOINTS, fixed_names=True, evaluated=evaluated))

    path = folder / "persons.json"
    if accepted(path, content, check):
        data = CocoPersons(ann_file=str(path), test_mode=evaluated)
        for index in range(len(data)):
            data.get_data_info(index)


@share(100)
@given(changed(BOXES))
def test_detected_boxes(folder, content):
    persons = folder / "persons_of_boxes.json"
    persons.write_text(json.dumps(PERSONS))
    accepted(folder / "boxes.json", content, check_boxes, str(persons))


LABELS = np.resize(np.arange(9, dtype=np.uint8), (SIZE, SIZE))
LABEL_MAPS = {
    "8 bits": (".png", LABELS),
    "16 bits": (".png", LABELS.astype(np.uint16)),
    "colours": (".png", np.dstack([LABELS] * 3)),
    "jpeg": (".jpg", LABELS),
    "tiff": (".tif", LABELS),
    "bitmap": (".bmp", LABELS),
}


@share(100)
@given(st.sampled_from(sorted(LABEL_MAPS)), st.data())
def test_label_maps(folder, name, data):
    suffix, labels = LABEL_MAPS[name]
    path = folder / f"labels{suffix}"
    path.write_bytes(data.draw(damaged(cv2.imencode(suffix, labels)[1].tobytes())))
    sample = {"img_path": "image.jpg", "ori_shape": labels.shape[:2], "seg_fields": []}
    sample.update(seg_map_path=str(path), reduce_zero_label=False, label_map=None)
    try:
        loaded = LoadLabelMap()(sample)["gt_seg_map"]
    except UserError as error:
        assert_names(error, path)
    else:
        assert loaded.shape == LABELS.shape
        assert loaded.dtype == np.uint8


LINES = st.lists(
    st.one_of(
        st.sampled_from(["clip.mp4 0", "clips/clip.mp4 2", "clip.mp4 3", "clip.mp4\t1", "a b 1"]),
        st.sampled_from(["", " ", "clip.mp4", "clip.mp4  1", "\ufeffclip.mp4 1", "clip.mp4 -1"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
        st.builds("{} {}".format, st.text(max_size=4), st.integers(-1, 4)),
    ).map(lambda line: line.encode(errors="replace")),
    max_size=4,
).map(b"\n".join)


@share(50)
@given(st.one_of(LINES, damaged(b"clip.mp4 0\nother.mp4 2\n")))
def test_video_lists(folder, content):
    path = folder / "videos.txt"
    path.write_bytes(content)
    try:
        data = CheckedVideoDataset(str(path), pipeline=[], num_classes=3)
    except UserError as error:
        assert_names(error, path)
    else:
        assert len(data) > 0
        for index in range(len(data)):
            assert data.get_data_info(index)["label"] in range(3)
