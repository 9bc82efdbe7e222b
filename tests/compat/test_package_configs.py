"""Configs of this package are found by name from any folder."""

import pytest
from mmengine.config import Config
from mmengine.hub import get_config

import uniformer_mm  # noqa: F401
from uniformer_mm.checkpoints.zoo import MIM

pytestmark = pytest.mark.stack

NAME = "det/mask_rcnn_uniformer_s.py"
EXPECTED = Config.fromfile(MIM / "configs" / NAME).to_dict()


def test_config_reads_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Config.fromfile(f"uniformer_mm::{NAME}").to_dict() == EXPECTED
    assert Config.fromfile("mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py").model.type == "MaskRCNN"


def test_they_can_be_bases(tmp_path):
    (tmp_path / "own.py").write_text(f"_base_ = 'uniformer_mm::{NAME}'\nown = 1\n")
    assert Config.fromfile(tmp_path / "own.py").to_dict() == {**EXPECTED, "own": 1}


def test_the_hub_knows_their_weights():
    cfg = get_config("uniformer_mm::det/mask_rcnn_uniformer_s_3x_ms.py", pretrained=True)
    assert cfg.model_path.startswith("https://")
    assert get_config("mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py").model.type == "MaskRCNN"


def test_the_error_names_a_missing_config():
    with pytest.raises(FileNotFoundError, match="absent"):
        Config.fromfile("uniformer_mm::det/absent.py")
