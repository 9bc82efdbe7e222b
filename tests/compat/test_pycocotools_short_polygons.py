"""Masks with polygons of less than three points can be evaluated."""

import numpy as np
import pytest
from pycocotools import mask

from uniformer_mm.compat import repair_stack

POLYGON = [1, 1, 9, 1, 9, 9, 1, 9]


@pytest.fixture(scope="module")
def coco():
    repair_stack()
    from pycocotools.coco import COCO

    result = COCO()
    result.imgs = {1: {"height": 12, "width": 12}}
    return result


def area(coco, segmentation):
    return int(mask.area(coco.annToRLE({"image_id": 1, "segmentation": segmentation})))


def test_they_are_left_out(coco):
    with pytest.raises(TypeError):
        mask.frPyObjects([[1, 1, 5, 5], POLYGON], 12, 12)
    expected = area(coco, [POLYGON])
    assert expected > 0
    for short in ([], [1, 2], [1, 1, 5, 5]):
        assert area(coco, [short, POLYGON]) == area(coco, [POLYGON, short]) == expected
        assert area(coco, [short]) == 0


def test_run_lengths_stay(coco):
    encoded = mask.encode(np.asfortranarray(np.ones((12, 12), np.uint8)))
    assert area(coco, encoded) == 144
    assert area(coco, {"size": [12, 12], "counts": [100, 44]}) == 44
