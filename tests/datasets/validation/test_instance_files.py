"""What is said of a file of instances: counts, likely mistakes, faults."""

import json
import re

import pytest

from uniformer_mm.datasets.validation import coco_files
from uniformer_mm.datasets.validation.coco_files import read_categories
from uniformer_mm.datasets.validation.instance_files import Use, check_annotations
from uniformer_mm.errors import UserError

POLYGON, SHORT = [3, 4, 20, 4, 20, 10], [1, 1, 5, 5]
SOUND = {"image_id": 1, "category_id": 1, "bbox": [3, 4, 20, 10], "area": 90, "iscrowd": 0}
SHIPS = ({"id": 1, "name": "ship"}, {"id": 2, "name": "buoy"})


def write(tmp_path, *changes, categories=SHIPS, image=None):
    """A file of annotations with some changes each."""
    images = [{"id": id_, "file_name": f"{id_}.jpg", "width": 60, "height": 50} for id_ in (1, 2)]
    images[0] |= image or {}
    annotations = [
        {"id": 10 + i, **SOUND, "segmentation": [POLYGON], **change}
        for i, change in enumerate(changes)
    ]
    content = {"images": images, "annotations": annotations, "categories": [*categories]}
    (tmp_path / "set.json").write_text(json.dumps(content))
    return str(tmp_path / "set.json")


def test_one_line_says_how_many_are_used_and_why_others_are_not(tmp_path):
    changes = [{}, {"iscrowd": 1}, {"image_id": 9}, {"bbox": [3, 4, 0, 9]}, {"category_id": 2}]
    path = write(tmp_path, *changes, {"category_id": 7}, {"bbox": [90, 4, 5, 5]}, {"ignore": 1})
    report = check_annotations(path, Use(("ship",), filter_empty_gt=True))
    assert report.line.startswith(
        f"{path}: 1 of 8 annotations are used in 1 of 2 images; left out:"
    )
    assert "\n" not in report.line
    reasons = [
        int(count) for count in re.findall(r"(?:: |, )(\d+) (?:with|marked|of)", report.line)
    ]
    assert sum(reasons[1:]) == 7


ALL = "none of its 1 annotations can be used"


@pytest.mark.parametrize(
    ("change", "use", "message"),
    [
        ({"image_id": "1"}, {}, f"{ALL}: 1 with an image_id of no image. .*'1' .* are strings in"),
        ({"category_id": "1"}, {}, f"{ALL}: 1 with a category_id of .*'1' .* are strings in"),
        ({"category_id": 7}, {}, f"{ALL}: 1 with a category_id of no category .7"),
        ({"bbox": [0.1, 0.2, 0.5, 0.5]}, {}, f"{ALL}: 1 with .*lie within 0 and 1"),
        ({"iscrowd": 1}, {}, f"{ALL}: 1 marked as 'iscrowd'"),
        ({"area": 0}, {}, f"{ALL}: 1 with the area 0"),
        ({"bbox": [70, 0, 5, 5]}, {}, f"{ALL}: 1 with a box outside the image"),
        ({}, {"min_size": 64}, f"{ALL}: 1 in images below 64 pixels"),
        ({}, {"classes": ("buoy",)}, f"{ALL}: 1 of categories that are not among the classes"),
        ({"segmentation": [SHORT]}, {"masks": True}, f"{ALL}: 1 with a mask without a polygon"),
        ({"segmentation": []}, {"masks": True}, "faster_rcnn_uniformer_s"),
        ({"segmentation": None}, {"masks": True}, "faster_rcnn_uniformer_s"),
    ],
)
def test_nothing_left_to_train_on_is_an_error_that_names_the_cause(tmp_path, change, use, message):
    with pytest.raises(UserError, match=rf"set\.json: .*{message}"):
        check_annotations(write(tmp_path, change), Use(**use))


def test_annotations_that_count_categories_from_0_are_refused(tmp_path):
    path = write(tmp_path, {"category_id": 0}, {})
    with pytest.raises(UserError, match=r"category_id 0, 1, categories the ids 1, 2: .* from 0"):
        check_annotations(path, Use())
    report = check_annotations(write(tmp_path, {"category_id": 0}, {"category_id": 2}), Use())
    assert "category_id 0 is the id of no category: those are 1, 2" in report.warnings[0]


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ([{"bbox": [30, 20, 55, 45]}, {}], "1 of 2 boxes reach beyond .* x1, y1, x2, y2"),
        ([{"bbox": [30, 20, 90, 20]}, {}], "1 of 2 boxes reach beyond .* another size"),
        ([{}, {"image_id": "2"}], "image_id '2' and other ids are strings"),
        (
            [{"segmentation": [[0.1, 0.2, 0.5, 0.2, 0.5, 0.4]]}],
            "coordinates of masks lie within 0 and 1",
        ),
    ],
)
def test_what_is_likely_to_be_wrong_is_a_warning(tmp_path, changes, warning):
    (said,) = check_annotations(write(tmp_path, *changes), Use(masks=True)).warnings
    assert re.match(rf".*set\.json: {warning}", said)


def test_boxes_at_the_border_are_no_warning(tmp_path):
    changes = [{"bbox": [40, 30, 21, 21]}, {"bbox": [-1, -1, 9, 9]}]
    assert check_annotations(write(tmp_path, *changes), Use()).warnings == []


def test_short_polygons_are_left_out_and_counted(tmp_path):
    path = write(tmp_path, {"segmentation": [SHORT, POLYGON, [1, 2]]}, {})
    report = check_annotations(path, Use(masks=True))
    assert report.used == 2
    assert report.line.endswith("; 2 polygons of less than three points are left out")


def test_classes_in_another_order_than_in_the_file_are_a_warning(tmp_path):
    path = write(tmp_path, {})
    assert check_annotations(path, Use(("ship", "buoy"))).warnings == []
    (said,) = check_annotations(path, Use(("buoy", "ship"))).warnings
    assert "would call 'ship' 'buoy'" in said


def test_ids_of_annotations_are_integers_where_they_are_evaluated(tmp_path):
    path = write(tmp_path, {"id": "a"})
    check_annotations(path, Use())
    with pytest.raises(UserError, match=r"set\.json: annotation without a number as id"):
        check_annotations(path, Use(evaluated=True))


def test_nothing_left_to_evaluate_is_a_warning(tmp_path):
    report = check_annotations(write(tmp_path, {"iscrowd": 1}), Use(evaluated=True))
    assert report.warnings[-1].endswith("nothing is left to evaluate")


def test_one_fault_among_many_annotations_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("uniformer_mm.datasets.validation.json_stream.ENTRIES", 16)
    changes = [{} for _ in range(100)]
    changes[77] = {"bbox": [1, 2, float("nan"), 4]}
    with pytest.raises(UserError, match=r"annotation 87 has the bbox \[1, 2, nan, 4\]"):
        check_annotations(write(tmp_path, *changes), Use())
    changes[77] = {"id": 10}
    with pytest.raises(UserError, match=r"two of the id 10: annotation ids"):
        check_annotations(write(tmp_path, *changes), Use())


@pytest.mark.parametrize("order", [("images", "categories"), ("categories", "images")])
def test_categories_of_a_long_file_are_found_wherever_they_are(tmp_path, monkeypatch, order):
    path = tmp_path / "long.json"
    fake = {"categories": [{"id": 1, "name": "wrong"}]}
    lists = {"images": [fake] * 9, "categories": [{"id": 1, "name": 'sh"ip'}], "annotations": []}
    names = [*order, "annotations"] if order[0] == "categories" else ["annotations", *order]
    path.write_text(json.dumps({"info": fake, **{name: lists[name] for name in names}}))
    for tail in (64, 160, 1 << 20):
        monkeypatch.setattr(coco_files, "TAIL", tail)
        assert read_categories(str(path)) == lists["categories"]
