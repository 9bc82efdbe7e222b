"""Whole models to official files and back, for every task."""

import hashlib
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from uniformer_mm import zoo
from uniformer_mm.apis.launch import load_config, replace_sync_batch_norm
from uniformer_mm.checkpoints import CheckpointError
from uniformer_mm.checkpoints.converting import to_official, to_openmmlab
from uniformer_mm.errors import UserError

ROOT = Path(__file__).resolve().parents[2]

# config: (wrapper of the official file, names that only it has, classes known to the inferencer)
CASES = {
    "det/mask_rcnn_uniformer_s": ("state_dict", [], 80),
    "seg/upernet_uniformer_s_h14": ("state_dict", [], 150),
    "pose/td_hm_uniformer_s_256x192": ("state_dict", ["keypoint_head.final_layer.weight"], None),
    "video/uniformer_s_8x8_k400": ("model_state", ["head.weight", "blocks1.0.conv1.weight"], None),
    "cls/uniformer_s_in1k": ("model", ["head.weight", "blocks1.0.conv1.weight"], 1000),
    "cls/uniformer_s_tl_224_in1k": ("model", ["head.weight", "aux_head.weight"], 1000),
}


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    """A config with few blocks, a file of its model, and its tensors."""
    cfg = load_config(str(ROOT / "configs" / f"{request.param}.py"))
    cfg.model.backbone.update(init_cfg=None, arch={"depths": (1, 1, 1, 1)})
    replace_sync_batch_norm(cfg.model)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    state = MODELS.build(cfg.model).state_dict()
    torch.save({"state_dict": state, "optimizer": {"lr": 1.0}}, tmp_path / "epoch_1.pth")
    return cfg, tmp_path, state, CASES[request.param]


def test_there_and_back_changes_nothing(case):
    cfg, folder, state, (wrapper, names, num_classes) = case
    official, _ = to_official(cfg, str(folder / "epoch_1.pth"), folder / "official")
    content = torch.load(official, weights_only=True)
    assert set(content) <= {wrapper, "meta"}
    assert set(names) <= set(content[wrapper])
    back, report = to_openmmlab(cfg, str(official), folder / "openmmlab")
    assert len(report.matched) == len(state)
    digest = hashlib.sha256(back.read_bytes()).hexdigest()
    assert back.name == f"{Path(cfg.filename).stem}-{digest[:8]}.pth"
    content = torch.load(back, weights_only=True)
    assert set(content) == {"state_dict", "meta"}, "slim: no optimizer"
    assert content["state_dict"].keys() == state.keys()
    assert all(torch.equal(content["state_dict"][name], state[name]) for name in state)
    if num_classes:
        assert len(content["meta"]["dataset_meta"]["classes"]) == num_classes


def test_what_does_not_fit_is_refused_and_leaves_no_file(tmp_path):
    cfg = load_config(str(ROOT / "configs" / "det" / "mask_rcnn_uniformer_s.py"))
    torch.save({"a": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="Nothing matched"):
        to_openmmlab(cfg, str(tmp_path / "other.pth"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_of_the_zoo_by_its_name(tmp_path):
    arch = {"depths": (1, 1, 4, 1)}
    model = zoo.get_model("mask_rcnn_uniformer_s", arch=arch, attention="window")
    assert not model.training
    assert [block.window_size for block in model.backbone.blocks3] == [14] * 4
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    again = zoo.get_model("mask_rcnn_uniformer_s", str(tmp_path / "weights.pth"), arch=arch)
    assert torch.equal(again.backbone.norm1.weight, model.backbone.norm1.weight)
    with pytest.raises(CheckpointError, match="has no public direct download"):
        zoo.get_model("mask_rcnn_uniformer_s", True, arch={"depths": (1, 1, 1, 1)})
    with pytest.raises(
        UserError, match=r"no model 'mask_rcnn_uniformer_x' in the zoo; mask_rcnn_uni"
    ):
        zoo.get_model("mask_rcnn_uniformer_x")
