"""Faulty keypoint annotations and boxes are named in the words of their files."""

import json
from pathlib import Path

import pytest

from uniformer_mm.datasets.coco_files import check_annotations
from uniformer_mm.datasets.figures import JOINTS
from uniformer_mm.datasets.keypoint_files import check_boxes, check_keypoints
from uniformer_mm.errors import UserError

PERSON = {
    "id": 5,
    "image_id": 1,
    "category_id": 1,
    "bbox": [0, 0, 9, 9],
    "keypoints": [3, 4, 2] * 17,
}
BOX = {"image_id": 1, "category_id": 1, "bbox": [1.0, 2.0, 30.0, 40.0], "score": 0.9}


def annotations(path, people=(PERSON,), categories=({"id": 1, "name": "person"},)):
    content = {"images": [{"id": 1}], "annotations": [*people], "categories": [*categories]}
    path.write_text(json.dumps(content))
    return str(path)


@pytest.fixture
def boxes(tmp_path):
    """Write a file of boxes and check it."""

    def check(content):
        path = tmp_path / "boxes.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        check_boxes(str(path), annotations(tmp_path / "annotations.json"))

    return check


def test_people_with_coco_s_joints_pass_whether_the_joints_are_named_or_not(tmp_path):
    names = [name.replace("_", " ").title() for name in JOINTS]
    named = {"id": 1, "name": "person", "keypoints": names}
    check_keypoints(annotations(tmp_path / "a.json"))
    check_keypoints(annotations(tmp_path / "b.json", categories=[named]))
    unlabelled = {**PERSON, "keypoints": [0] * 51}
    check_keypoints(annotations(tmp_path / "c.json", people=[PERSON, unlabelled]))


@pytest.mark.parametrize(
    ("people", "categories", "message"),
    [
        ([{**PERSON, "keypoints": [1, 1, 2] * 14}], None, "annotation 5 has 42 numbers"),
        ([{**PERSON, "keypoints": [1, 1, 0] * 17}], None, "no person with a labelled joint"),
        ([{**PERSON, "iscrowd": 1}], None, "no person with a labelled joint"),
        ([], None, "no person with a labelled joint"),
        (None, [{"id": 1, "name": "p", "keypoints": ["paw"] * 17}], "the 17 keypoints paw, paw"),
        (None, [{"id": 1, "name": "p", "keypoints": JOINTS[:14]}], "the 14 keypoints nose"),
        (None, [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}], "the categories a, b"),
        (None, [{"id": 1, "name": "a"}, {"id": 2, "name": "\x1b"}], r"the categories a, \?:"),
        ([{**PERSON, "keypoints": 5}], None, "annotation 5 has 5 for its keypoints"),
        (None, [{"id": 1, "name": "p", "keypoints": None}], "keypoints None: it needs a list"),
    ],
)
def test_other_annotations_are_refused(tmp_path, people, categories, message):
    given = {"people": people, "categories": categories}
    given = {name: value for name, value in given.items() if value is not None}
    with pytest.raises(UserError, match=rf"keypoints\.json.*{message}"):
        check_keypoints(annotations(tmp_path / "keypoints.json", **given))


@pytest.mark.parametrize("change", [{"bbox": None}, {"image_id": 2}])
def test_people_whom_mmpose_would_leave_out_are_missed(tmp_path, change):
    person = {name: value for name, value in {**PERSON, **change}.items() if value is not None}
    path = tmp_path / "people.json"
    images = [{"id": 1, "file_name": "1.jpg", "width": 9, "height": 9}]
    for people in ([PERSON, {**person, "id": 6}], [person]):
        content = json.loads(Path(annotations(path, people=people)).read_text())
        path.write_text(json.dumps({**content, "images": images}))
        if len(people) == 2:
            check_annotations(str(path), keypoints=True)
    with pytest.raises(UserError, match=r"people\.json has no person in any of its images"):
        check_annotations(str(path), keypoints=True)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"no annotation file .*absent\.json"):
        check_keypoints(str(tmp_path / "absent.json"))
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UserError, match=r"broken\.json is not in COCO's format"):
        check_keypoints(str(tmp_path / "broken.json"))


def test_boxes_of_people_pass_with_others_beside_them(boxes):
    boxes([BOX, {"image_id": 99, "category_id": 18, "bbox": None}])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{", r"boxes\.json cannot be read as detected boxes \(JSONDecodeError"),
        ({"annotations": []}, r"cannot be read as detected boxes \(TypeError"),
        ([{"image_id": 1, "category_id": 1, "score": 1}], "KeyError: 'bbox'"),
        ([{**BOX, "bbox": [1, 2, 3]}], "ValueError: not enough values"),
        ([{**BOX, "bbox": [1, 2, 0, 4]}], r"bbox \[1, 2, 0, 4\] of image 1"),
        ([{**BOX, "bbox": [1, 2, float("nan"), 4]}], "of image 1"),
        ([{**BOX, "score": None}], "TypeError"),
        ([BOX, {**BOX, "image_id": 7}], r"boxes for image 7, .*annotations\.json.*bbox_file=None"),
        ([{**BOX, "image_id": i} for i in ("a", 0.5)], r"boxes for image 0\.5, "),
        ([{**BOX, "category_id": 0}], r"no box of category 1 \(person\)"),
        ([], r"no box of category 1 \(person\)"),
    ],
)
def test_other_boxes_are_refused(boxes, content, message):
    with pytest.raises(UserError, match=message):
        boxes(content)
