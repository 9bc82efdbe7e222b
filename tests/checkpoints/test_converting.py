"""Whole models to official files and back, for every task."""

import hashlib
from pathlib import Path

import pytest
import torch
from small_models import small_config, small_state

from uniformer_mm.checkpoints import CheckpointError
from uniformer_mm.checkpoints.converting import to_official, to_openmmlab
from uniformer_mm.errors import UserError

# config: (key of the tensors in an official file, names that only it has)
CASES = {
    "det/mask_rcnn_uniformer_s": ("state_dict", []),
    "seg/semantic_fpn_uniformer_xxs": ("state_dict", []),
    "pose/td_hm_uniformer_s_256x192": (
        "state_dict",
        [
            "keypoint_head.final_layer.weight",
            *(f"backbone.norm{stage}.bias" for stage in range(1, 5)),
        ],
    ),
    "video/uniformer_s_8x8_k400": ("model_state", ["head.weight", "blocks1.0.conv1.weight"]),
    "video/uniformer_xxs_4x128_k400": ("model_state", ["head_cls.weight", "cls_token"]),
    "cls/uniformer_s_in1k": ("model", ["head.weight", "blocks1.0.conv1.weight"]),
    "cls/uniformer_s_tl_224_in1k": ("model", ["head.weight", "aux_head.weight"]),
}


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    """A config with few blocks, a file of its model, and its tensors."""
    cfg = small_config(request.param)
    state = small_state(cfg)
    torch.save({"state_dict": state, "optimizer": {"lr": 1.0}}, tmp_path / "epoch_1.pth")
    return cfg, tmp_path, state, CASES[request.param]


def test_there_and_back_changes_nothing(case):
    cfg, folder, state, (key, names) = case
    official, _ = to_official(cfg, str(folder / "epoch_1.pth"), folder / "official")
    content = torch.load(official, weights_only=True)
    assert set(content) <= {key, "meta"}
    assert set(names) <= set(content[key])
    back, report = to_openmmlab(cfg, str(official), folder / "openmmlab")
    assert len(report.matched) == len(state)
    digest = hashlib.sha256(back.read_bytes()).hexdigest()
    assert back.name == f"{Path(cfg.filename).stem}-{digest[:8]}.pth"
    content = torch.load(back, weights_only=True)
    assert set(content) == {"state_dict", "meta"}, "slim: no optimizer"
    assert content["meta"]["source"] == official.name, "and nobody's folders"
    assert content["state_dict"].keys() == state.keys()
    assert all(torch.equal(content["state_dict"][name], state[name]) for name in state)
    written = official.stat().st_mtime_ns
    assert to_official(cfg, str(back), folder / "official")[0] == official, "the same to the bit"
    assert official.stat().st_mtime_ns == written


@pytest.fixture
def classifier(tmp_path):
    """A config and a file of its model."""
    cfg = small_config("cls/uniformer_xxs_128_in1k")
    torch.save(small_state(cfg), tmp_path / "weights.pth")
    return cfg, str(tmp_path / "weights.pth")


def test_nothing_is_overwritten(classifier, tmp_path):
    cfg, weights = classifier
    path, _ = to_openmmlab(cfg, weights, tmp_path)
    path.write_bytes(b"something else")
    with pytest.raises(UserError, match=rf"{path.name} exists and is something else"):
        to_openmmlab(cfg, weights, tmp_path)
    assert path.read_bytes() == b"something else"
    with pytest.raises(UserError, match=r"cannot write .*: File exists; choose another --out-dir"):
        to_openmmlab(cfg, weights, path)


@pytest.mark.parametrize("convert", [to_openmmlab, to_official])
def test_what_is_of_another_model_is_refused_and_leaves_no_file(convert, tmp_path):
    cfg = small_config("cls/uniformer_s_in1k")
    labelled = small_config("cls/uniformer_s_tl_224_in1k")
    cfg.model.backbone.head_dim = labelled.model.backbone.head_dim
    torch.save(small_state(labelled), tmp_path / "labelled.pth")
    torch.save({"a": torch.ones(1)}, tmp_path / "other.pth")
    for name, message in (
        ("labelled", "the model of this one has no place for head.aux_fc"),
        ("other", "no UniFormer checkpoint"),
    ):
        with pytest.raises(CheckpointError, match=message):
            convert(cfg, str(tmp_path / f"{name}.pth"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_shapes_that_fit_by_chance_are_no_excuse(classifier, tmp_path):
    cfg, weights = classifier
    path = Path(weights).rename(tmp_path / "uniformer_small_tl_224.pth")
    with pytest.raises(CheckpointError, match="attention heads of 32 channels, the model has 28"):
        to_openmmlab(cfg, str(path), tmp_path / "out")
