"""Checks of keypoint annotations and detected boxes."""

import json
import re
from pathlib import Path

import pytest

from uniformer_mm.datasets.synthetic.stick_figures import JOINTS
from uniformer_mm.datasets.validation.keypoints import (
    KeypointUse,
    check_boxes,
    check_keypoints,
)
from uniformer_mm.errors import UserError

PERSON = {
    "id": 5,
    "image_id": 1,
    "category_id": 1,
    "bbox": [0, 0, 9, 9],
    "keypoints": [3, 4, 2] * 17,
}
BOX = {"image_id": 1, "category_id": 1, "bbox": [1.0, 2.0, 30.0, 40.0], "score": 0.9}


def annotations(path, persons=(PERSON,), categories=({"id": 1, "name": "person"},)):
    images = [{"id": 1, "file_name": "1.jpg", "width": 20, "height": 20}]
    content = {"images": images, "annotations": [*persons], "categories": [*categories]}
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


def check(path, **use):
    return check_keypoints(path, KeypointUse(JOINTS, fixed_names=True, **use))


def test_persons_with_coco_keypoints_pass_with_and_without_names(tmp_path):
    names = [name.replace("_", " ").title() for name in JOINTS]
    named = {"id": 1, "name": "person", "keypoints": names}
    check(annotations(tmp_path / "a.json"))
    check(annotations(tmp_path / "b.json", categories=[named]))
    unlabelled = {**PERSON, "id": 6, "keypoints": [0] * 51}
    check(annotations(tmp_path / "c.json", persons=[PERSON, unlabelled]))


NONE = "none of its . annotations can be used"
DOG = {**PERSON, "id": 6, "category_id": 2}


@pytest.mark.parametrize(
    ("persons", "categories", "message"),
    [
        (
            [{**PERSON, "keypoints": [1, 1, 2] * 5}],
            None,
            "annotation 5 has the keypoints .*17 k",
        ),
        ([{**PERSON, "keypoints": [0, 0, 0] * 17}], None, f"{NONE}: 1 with num_keypoints 0"),
        ([{**PERSON, "num_keypoints": 0}], None, f"{NONE}: 1 with .*0\\. 1 .* labelled"),
        ([{**PERSON, "iscrowd": 1}], None, f"{NONE}: 1 marked as 'iscrowd'"),
        ([{**PERSON, "image_id": "1"}], None, f"{NONE}: 1 with an image_id .* are strings in one"),
        ([{**PERSON, "bbox": [50, 0, 9, 9]}], None, f"{NONE}: 1 with a box outside the image"),
        ([], None, NONE),
        ([{**PERSON, "id": "5"}], None, r"annotations\[0\] has the id '5'"),
        (None, [{"id": 1, "name": "p", "keypoints": ["paw"] * 17}], "the 17 keypoints paw, paw"),
        (None, [{"id": 1, "name": "p", "keypoints": JOINTS[:14]}], "the 14 keypoints nose"),
        ([PERSON, DOG], [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}], "the categories a, b"),
        ([PERSON, DOG], [{"id": 1, "name": "a"}, {"id": 2, "name": "\x1b"}], r"categories a, \?:"),
        ([{**PERSON, "keypoints": 5}], None, "annotation 5 has the keypoints 5"),
        (None, [{"id": 1, "name": "p", "keypoints": None}], "has the keypoints None"),
    ],
)
def test_other_annotations_are_refused(tmp_path, persons, categories, message):
    given = {"persons": persons, "categories": categories}
    given = {name: value for name, value in given.items() if value is not None}
    with pytest.raises(UserError, match=rf"keypoints\.json.*{message}"):
        check(annotations(tmp_path / "keypoints.json", **given))


def test_ids_of_images_have_to_be_integers(tmp_path):
    path = Path(annotations(tmp_path / "persons.json"))
    path.write_text(path.read_text().replace('[{"id": 1, "file', '[{"id": "1", "file'))
    with pytest.raises(UserError, match=rf"{path}: images\[0\] has the id '1'"):
        check(str(path))


@pytest.mark.parametrize("change", [{"bbox": None}, {"image_id": 2}])
def test_persons_that_mmpose_leaves_out_are_counted(tmp_path, change):
    person = {name: value for name, value in {**PERSON, **change}.items() if value is not None}
    path = tmp_path / "persons.json"
    report = check(annotations(path, persons=[PERSON, {**person, "id": 6}]))
    assert report.used == 1
    assert re.search("persons.json: 1 of 2 annotations are used; left out: 1 with", report.line)
    with pytest.raises(UserError, match=r"persons\.json: none of its 1 annotations can be used"):
        check(annotations(path, persons=[person]))


def test_normalized_coordinates_are_a_warning(tmp_path):
    person = {**PERSON, "keypoints": [0.5, 0.4, 2] * 17}
    (warning,) = check(annotations(tmp_path / "a.json", persons=[person])).warnings
    assert "keypoints lie within 0 and 1" in warning
    person["bbox"] = [0.1, 0.1, 0.5, 0.5]
    assert len(check(annotations(tmp_path / "b.json", persons=[person])).warnings) == 2


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"no annotation file .*absent\.json"):
        check(str(tmp_path / "absent.json"))
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UserError, match=r"broken\.json is not in COCO format"):
        check(str(tmp_path / "broken.json"))


def test_boxes_of_other_categories_pass(boxes):
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
