"""Samples have the image size that the annotation file states."""

from types import SimpleNamespace

import pytest

from uniformer_mm.compat import mmpose_stated_size

pytestmark = pytest.mark.stack


def test_samples_made_from_annotations_know_the_size():
    class Dataset:
        def parse_data_info(self, raw_data_info):
            return {"bbox": 1} if raw_data_info["raw_ann_info"] else None

    module = SimpleNamespace(BaseCocoStyleDataset=Dataset)
    raw = {"raw_ann_info": True, "raw_img_info": {"height": 3, "width": 4}}
    assert Dataset().parse_data_info(raw) == {"bbox": 1}, "the defect"
    mmpose_stated_size.patch(module)
    assert Dataset().parse_data_info(raw) == {"bbox": 1, "img_shape": (3, 4)}
    assert Dataset().parse_data_info({**raw, "raw_ann_info": False}) is None
