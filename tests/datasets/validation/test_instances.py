"""Checks of instance annotations: counts, likely mistakes, errors."""

import json
import re

import pytest

from uniformer_mm.datasets.validation.instances import Use, check_annotations
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


@pytest.mark.slow
def test_annotations_are_counted_by_the_reason_for_which_they_are_left_out(tmp_path):
    changes = [{}, {"iscrowd": 1}, {"image_id": 9}, {"bbox": [3, 4, 0, 9]}, {"category_id": 2}]
    path = write(tmp_path, *changes, {"category_id": 7}, {"bbox": [90, 4, 5, 5]}, {"ignore": 1})
    line = check_annotations(path, Use(("ship",), filter_empty_gt=True)).line
    assert line.startswith(f"{path}: 1 of 8 annotations are used in 1 of 2 images; left out:")
    assert "\n" not in line
    reasons = re.findall(r"(?:: |, )(\d+) (?:with|marked|of)", line)
    assert sum(map(int, reasons[1:])) == 7


ALL = "none of its 1 annotations can be used"


@pytest.mark.parametrize(
    ("change", "use", "message"),
    [
        ({"image_id": "1"}, {}, f"{ALL}: 1 with an image_id of no image. .*'1' .* are strings in"),
        ({"category_id": "1"}, {}, f"{ALL}: 1 with a category_id of .*'1' .* are strings in"),
        ({"category_id": 7}, {}, f"{ALL}: 1 with a category_id of no category .7"),
        ({"bbox": [0.1, 0.2, 0.5, 0.5]}, {}, f"{ALL}: 1 with .* within 0 and 1"),
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
def test_nothing_left_to_train_on_is_an_error_with_the_cause(tmp_path, change, use, message):
    with pytest.raises(UserError, match=rf"set\.json: .*{message}"):
        check_annotations(write(tmp_path, change), Use(**use))


def test_annotations_that_count_categories_from_0_are_refused(tmp_path):
    path = write(tmp_path, {"category_id": 0}, {})
    with pytest.raises(UserError, match=r"category_id 0, 1, categories the ids 1, 2: .* from 0"):
        check_annotations(path, Use())
    report = check_annotations(write(tmp_path, {"category_id": 0}, {"category_id": 2}), Use())
    assert "category_id 0 is the id of no category: those are 1, 2" in report.warnings[0]


@pytest.mark.parametrize(
    ("changes", "use", "warnings"),
    [
        ([{"bbox": [30, 20, 55, 45]}, {}], {}, ["1 of 2 boxes .* x1, y1, x2, y2"]),
        ([{"bbox": [30, 20, 90, 20]}, {}], {}, ["1 of 2 boxes .* another size"]),
        ([{"bbox": [40, 30, 21, 21]}, {"bbox": [-1, -1, 9, 9]}], {}, []),  # within the tolerance
        ([{}, {"image_id": "2"}], {}, ["image_id '2' and other ids are strings"]),
        (
            [{"segmentation": [[0.1, 0.2, 0.5, 0.2, 0.5, 0.4]]}],
            {"masks": True},
            ["all coordinates of masks lie within 0 and 1"],
        ),
        ([{}], {"classes": ("ship", "buoy")}, []),
        ([{}], {"classes": ("buoy", "ship")}, [".* would call 'ship' 'buoy'"]),
        ([{"iscrowd": 1}], {"evaluated": True}, ["nothing is left to evaluate"]),
    ],
)
def test_likely_mistakes_are_warnings(tmp_path, changes, use, warnings):
    said = check_annotations(write(tmp_path, *changes), Use(**use)).warnings
    assert len(said) == len(warnings)
    for text, warning in zip(said, warnings, strict=True):
        assert re.match(rf".*set\.json: {warning}", text)


def test_short_polygons_are_left_out_and_counted(tmp_path):
    path = write(tmp_path, {"segmentation": [SHORT, POLYGON, [1, 2]]}, {})
    report = check_annotations(path, Use(masks=True))
    assert report.used == 2
    assert "2 polygons" in report.line


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("bbox", [1, 2, float("nan"), 4], r"\[1, 2, nan, 4\]"),
        ("bbox", [1, 2, 3], r"\[1, 2, 3\]"),
        ("bbox", [1, 2, 3, 10**400], r"\[1, 2, 3, 100"),
        ("bbox", "x", "'x'"),
        ("bbox", None, "None"),
        ("area", float("inf"), "inf"),
        ("area", "9", "'9'"),
        ("iscrowd", 2, "2"),
        ("iscrowd", [], r"\[\]"),
        ("image_id", None, "None"),
        ("image_id", 1.5, "1.5"),
        ("category_id", {}, "{}"),
        ("segmentation", [[1, 2, "3", 4, 5, 6]], r"\[1, 2, '3'"),
        ("segmentation", 5, "5"),
        ("segmentation", {"size": [50], "counts": []}, r"\[50\]"),
    ],
)
def test_a_wrong_value_among_many_annotations_is_named(tmp_path, monkeypatch, name, value, shown):
    monkeypatch.setattr("uniformer_mm.datasets.validation.json_stream.BATCH_SIZE", 16)
    changes = [{} for _ in range(40)]
    changes[37] = {name: value}
    path = write(tmp_path, *changes)
    with pytest.raises(UserError, match=f"{path}: annotation 47 has .* {shown}"):
        check_annotations(path, Use(masks=True))


@pytest.mark.parametrize(
    ("name", "value"), [("width", 0), ("height", "9"), ("width", None), ("file_name", "")]
)
def test_a_wrong_value_of_an_image_is_named(tmp_path, name, value):
    path = write(tmp_path, {}, image={name: value})
    with pytest.raises(UserError, match=rf"{path}: image 1 has the {name} {value!r}"):
        check_annotations(path, Use())


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ({"size": [60, 50], "counts": [3000]}, r"size \[60, 50\], .* \[50, 60\]"),
        ({"size": [50, 60], "counts": [2999]}, r"counts \[2999\]"),
        ({"size": [50, 60], "counts": "\u00e9"}, "counts"),
    ],
)
def test_run_length_masks_have_to_fit_their_image(tmp_path, mask, message):
    path = write(tmp_path, {"segmentation": mask})
    with pytest.raises(UserError, match=f"annotation 10 has a mask .*{message}"):
        check_annotations(path, Use(masks=True))


@pytest.mark.parametrize(
    ("changes", "evaluated", "message"),
    [
        ([{}, {"id": 10}], False, "two annotations with the id 10"),
        ([{}, {"id": "a"}], False, r"annotations\[1\] has the id 'a'"),
        ([{"id": "a"}], True, r"annotations\[0\] has the id 'a'"),
        ([{"id": None}], False, r"annotations\[0\] has the id None"),
    ],
)
def test_ids_are_unique_and_of_one_type(tmp_path, changes, evaluated, message):
    path = write(tmp_path, *changes)
    with pytest.raises(UserError, match=rf"{path}.* {message}"):
        check_annotations(path, Use(evaluated=evaluated))
    check_annotations(write(tmp_path, {"id": "a"}, {"id": "b"}), Use())
