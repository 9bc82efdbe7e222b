"""Label maps are loaded as mmseg loads them, or refused with the name of the file."""

import re

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmseg.registry import TRANSFORMS

import uniformer_mm.segmentation  # noqa: F401  registers the transform
from uniformer_mm.errors import UserError

pytestmark = pytest.mark.stack

SIZE = (40, 60)


def write(path, labels):
    assert cv2.imwrite(str(path), labels)
    return path


def load(path, transform="LoadLabelMap", reduce_zero_label=True, label_map=None):
    init_default_scope("mmseg")
    results = {
        "seg_map_path": str(path),
        "img_path": "image.jpg",
        "ori_shape": SIZE,
        "seg_fields": [],
        "reduce_zero_label": reduce_zero_label,
        "label_map": label_map,
    }
    return TRANSFORMS.build({"type": transform})(results)


@pytest.fixture
def labels():
    """All 256 values."""
    return np.resize(np.arange(256, dtype=np.uint8), SIZE)


@pytest.mark.parametrize("reduce_zero_label", [True, False])
@pytest.mark.parametrize("label_map", [None, {0: 255, 3: 1}])
def test_loads_what_mmseg_loads(tmp_path, labels, reduce_zero_label, label_map):
    path = write(tmp_path / "labels.png", labels)
    ours = load(path, "LoadLabelMap", reduce_zero_label, label_map)
    theirs = load(path, "LoadAnnotations", reduce_zero_label, label_map)
    np.testing.assert_array_equal(ours["gt_seg_map"], theirs["gt_seg_map"])
    assert ours["gt_seg_map"].dtype == np.uint8
    assert ours["seg_fields"] == theirs["seg_fields"] == ["gt_seg_map"]


def test_sixteen_bits_are_read_if_the_values_fit_into_eight(tmp_path, labels):
    path = write(tmp_path / "labels.png", labels.astype(np.uint16))
    expected = np.where(labels == 0, 255, labels.astype(int) - 1)
    expected[labels == 255] = 255
    np.testing.assert_array_equal(load(path)["gt_seg_map"], expected)


def refused(path, message):
    with pytest.raises(UserError, match=re.escape(str(path)) + ".*" + message):
        load(path)


def test_values_above_255_do_not_wrap_around(tmp_path, labels):
    deep = labels.astype(np.uint16)
    deep[3, 3] = 300
    refused(write(tmp_path / "labels.png", deep), "has the value 300: mmseg reads .* 8 bits")


@pytest.mark.parametrize("kept", [0, 20, -30])
def test_a_truncated_file_is_named(tmp_path, labels, kept):
    path = write(tmp_path / "labels.png", labels)
    path.write_bytes(path.read_bytes()[:kept])
    refused(path, "cannot be read: it is truncated, or not an image .*Replace the file")


def test_a_missing_file_is_named_with_its_image(tmp_path):
    with pytest.raises(UserError, match=r"^no label map .*absent.png for image image.jpg$"):
        load(tmp_path / "absent.png")


@pytest.mark.parametrize("shape", [(20, 30), (60, 40), (40, 60, 3)])
def test_a_label_map_of_another_shape_than_its_image_is_named(tmp_path, shape):
    path = write(tmp_path / "labels.png", np.ones(shape, np.uint8))
    refused(path, re.escape(f"has shape {shape}, but its image image.jpg {SIZE}"))
