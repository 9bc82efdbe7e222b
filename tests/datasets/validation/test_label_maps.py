"""Classes that never occur in label maps are a warning with the values that do."""

import re

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from uniformer_mm.datasets.validation import label_maps
from uniformer_mm.datasets.validation.label_maps import (
    warn_of_absent_classes,
    warn_of_other_ignored_label,
)
from uniformer_mm.errors import UserError

pytestmark = pytest.mark.stack


@pytest.fixture
def warn(tmp_path, monkeypatch):
    """Writes maps of some values; the warning of a config of some classes, or nothing."""
    warnings = []
    monkeypatch.setattr(label_maps, "print_log", lambda text, **_: warnings.append(text))
    for name in ("images", "maps"):
        (tmp_path / name).mkdir()

    def run(*maps, classes=("a", "b"), suffix=".png", **options):
        for index, values in enumerate(maps):
            labels = np.repeat(np.array(values, np.uint8), 64).reshape(-1, 8)
            cv2.imwrite(str(tmp_path / "images" / f"{index:03}.jpg"), labels)
            cv2.imwrite(str(tmp_path / "maps" / f"{index:03}{suffix}"), labels)
        dataset = {
            "type": "BaseSegDataset",
            "data_root": str(tmp_path),
            "data_prefix": {"img_path": "images", "seg_map_path": "maps"},
            "metainfo": {"classes": classes},
            "seg_map_suffix": suffix,
            "pipeline": [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}],
            **options,
        }
        loaders = {f"{split}_dataloader": {"dataset": dataset} for split in ("train", "val")}
        warn_of_absent_classes(Config({"default_scope": "mmseg", **loaders}), ("train", "val"))
        assert len(warnings) <= 1, "a dataset that is named twice is looked at once"
        return "".join(warnings)

    return run


@pytest.mark.parametrize(
    ("maps", "options", "expected"),
    [
        ([[0, 255], [1]], {}, ""),
        ([[0, 255], [0]], {}, r"train: 1 of 2 classes \(b\) .* 2 of 2 label maps .* 0, 255\."),
        (
            [[0, 1]],
            {"reduce_zero_label": True},
            r"train: 1 of 2 classes \(b\) .* values 0, 1\..* reduce_zero_label is on",
        ),
        ([[0]], {"classes": ("a",)}, "train: a is the only class"),
        ([[20, 200]], {"suffix": ".jpg"}, "train: 2 of 2 classes .* JPEG"),
    ],
    ids=["all classes", "0 and 255", "reduce_zero_label", "a single class", "jpeg"],
)
def test_absent_classes_are_a_warning(warn, maps, options, expected):
    text = warn(*maps, **options)
    assert re.match(expected, text)
    assert bool(text) == bool(expected)


def test_rare_classes_of_large_sets_pass(warn, monkeypatch):
    monkeypatch.setattr(label_maps, "SAMPLED", 2)
    classes = ("a", "b", "c")
    assert not warn([0, 1], [0, 1], [0, 1], [0, 1], classes=classes)
    monkeypatch.setattr(label_maps, "MAPS_PER_CLASS", 0.5)
    assert "1 of 3 classes (c)" in warn(classes=classes)


def test_a_broken_map_is_named(warn, tmp_path):
    (tmp_path / "maps" / "000.png").write_bytes(b"no image")
    (tmp_path / "images" / "000.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"maps/000\.png cannot be read"):
        warn()


def test_heads_and_scores_that_ignore_other_labels_are_warned_of(monkeypatch):
    warnings = []
    monkeypatch.setattr(label_maps, "print_log", lambda text, **_: warnings.append(text))
    head, metric = {"type": "FCNHead", "ignore_index": 254}, {"type": "IoUMetric"}
    cfg = Config({"model": {"decode_head": [head, head]}, "val_evaluator": metric})
    warn_of_other_ignored_label(cfg)
    assert "heads is [254], that of the metrics [255]" in warnings.pop()
    cfg.val_evaluator.ignore_index = 254
    warn_of_other_ignored_label(cfg)
    assert not warnings
