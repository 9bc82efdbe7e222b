"""Annotations in which anything is wrong are refused by name, or read to the end."""

import json

import pytest
from damage import changed
from hypothesis import given
from hypothesis import strategies as st
from mmdet.datasets import CocoDataset
from mmpose.datasets import CocoDataset as CocoPeople
from profiles import share

from uniformer_mm.datasets.coco_files import check_annotations
from uniformer_mm.datasets.keypoint_files import check_boxes, check_keypoints
from uniformer_mm.errors import UserError

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
PEOPLE = {
    **INSTANCES,
    "annotations": [
        annotation(number, RUNS, keypoints=[5, 6, 2] * 17, num_keypoints=17) for number in (1, 2)
    ],
    "categories": [{"id": 1, "name": "person"}],
}
BOXES = [
    {"image_id": number, "category_id": 1, "bbox": [3, 4, 20, 10], "score": 0.5}
    for number in range(2)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("annotations")


def accepted(path, content, check, *files):
    """Whether a file passes a check; otherwise it has to be named in one line."""
    path.write_text(json.dumps(content))
    try:
        check(str(path), *files)
    except UserError as error:
        message = str(error)
    else:
        return True
    assert message.startswith(str(path))
    assert message.isprintable()
    return False


@share(50)
@given(changed(INSTANCES), st.booleans())
def test_instances(folder, content, evaluated):
    def check(path):
        check_annotations(path, classes=("cat", "dog"), masks=True, evaluated=evaluated)

    path = folder / "instances.json"
    if accepted(path, content, check):
        options = {"metainfo": {"classes": ("cat", "dog")}, "data_prefix": {"img": "images"}}
        data = CocoDataset(ann_file=str(path), test_mode=evaluated, **options)
        for index in range(len(data)):
            data.get_data_info(index)


@share(50)
@given(changed(PEOPLE), st.booleans())
def test_people(folder, content, evaluated):
    def check(path):
        check_keypoints(path)
        check_annotations(path, keypoints=True, evaluated=evaluated)

    path = folder / "people.json"
    if accepted(path, content, check):
        data = CocoPeople(ann_file=str(path), test_mode=evaluated)
        for index in range(len(data)):
            data.get_data_info(index)


@share(100)
@given(changed(BOXES))
def test_boxes_of_a_detector(folder, content):
    people = folder / "people_of_boxes.json"
    people.write_text(json.dumps(PEOPLE))
    accepted(folder / "boxes.json", content, check_boxes, str(people))
