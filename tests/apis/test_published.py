"""Measured scores are compared with the published ones of the same config, in the same unit."""

from pathlib import Path

import pytest
from mmengine.config import Config

from uniformer_mm.apis.config import load_config
from uniformer_mm.apis.test import comparison_table, published_rows
from uniformer_mm.checkpoints.zoo import list_models
from uniformer_mm.tasks import task_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("config", "scores", "rows"),
    [
        (
            "det/mask_rcnn_uniformer_s.py",
            {"coco/bbox_mAP": 0.457, "coco/segm_mAP": 0.41, "coco/bbox_mAP_50": 0.6},
            [("box AP", 45.7, 45.6), ("mask AP", 41.0, 41.6)],
        ),
        ("seg/upernet_uniformer_b_global.py", {"mIoU": 50.1, "aAcc": 80}, [("mIoU", 50.1, 50.0)]),
        ("video/uniformer_s_16x4_k400.py", {"acc/top1": 0.81}, [("top-1", 81.0, 80.8)]),
        ("video/tsn_uniformer_s_k400.py", {"acc/top1": 0.7}, []),
    ],
)
def test_rows(config, scores, rows):
    found = published_rows(load_config(str(ROOT / "configs" / config)), scores)
    assert [row[0] for row in found] == [row[0] for row in rows]
    for row, expected in zip(found, rows, strict=True):
        assert row[1:] == pytest.approx(expected[1:])


def test_augmented_tests_have_figures_of_their_own():
    cfg = load_config(str(ROOT / "configs/seg/upernet_uniformer_b_global.py"))
    assert published_rows(cfg, {"mIoU": 50.0}, augmented=True) == [("mIoU", 50.0, 50.8)]


def test_somebody_elses_config_has_none(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(f"_base_ = '{ROOT}/configs/det/mask_rcnn_uniformer_s.py'")
    assert published_rows(load_config(str(path)), {"coco/bbox_mAP": 0.5}) == []


def test_every_published_score_has_a_counterpart():
    for model in list_models(ROOT):
        scope = {"det": "mmdet", "seg": "mmseg", "pose": "mmpose", "video": "mmaction"}
        cfg = Config({"default_scope": scope.get(model.task, "mmpretrain")})
        known = task_of(cfg).published_scores
        assert {name.removesuffix("(ms+flip)") for name in model.metrics} <= set(known)


def test_table():
    lines = comparison_table([("box AP", 45.7, 45.6)]).splitlines()
    assert lines[0].split() == ["score", "measured", "published", "difference"]
    assert lines[1].split() == ["box", "AP", "45.70", "45.60", "+0.10"]
