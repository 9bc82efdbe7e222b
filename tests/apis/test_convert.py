"""Whole models are converted to official files and back, for every task."""

import copy
import hashlib
from pathlib import Path

import pytest
import torch
from runs import forget_runs
from small_models import small_config, small_state

from uniformer_mm.apis.convert import to_official, to_openmmlab
from uniformer_mm.checkpoints import CheckpointError, read_checkpoint
from uniformer_mm.errors import UserError

pytestmark = pytest.mark.stack

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
    default = 28 if "xxs" in cfg.filename else 64
    head_dim = cfg.model.backbone.get("head_dim", default)
    assert content["meta"]["uniformer"]["head_dim"] == head_dim
    assert content["state_dict"].keys() == state.keys()
    assert all(torch.equal(content["state_dict"][name], state[name]) for name in state)
    written = official.stat().st_mtime_ns
    assert to_official(cfg, str(back), folder / "official")[0] == official, "the same to the bit"
    assert official.stat().st_mtime_ns == written


@pytest.fixture(scope="module")
def built():
    """A config and the tensors of its model."""
    cfg = small_config("cls/uniformer_xxs_128_in1k")
    return cfg, small_state(cfg)


@pytest.fixture
def classifier(built, tmp_path):
    """A config and a file of its model."""
    cfg, state = built
    torch.save(state, tmp_path / "weights.pth")
    return copy.deepcopy(cfg), str(tmp_path / "weights.pth")


def test_nothing_is_overwritten(classifier, tmp_path):
    cfg, weights = classifier
    path, _ = to_openmmlab(cfg, weights, tmp_path)
    path.write_bytes(b"something else")
    with pytest.raises(UserError, match=rf"{path.name} .*--out-dir"):
        to_openmmlab(cfg, weights, tmp_path)
    assert path.read_bytes() == b"something else"
    with pytest.raises(UserError, match=r"File exists.*--out-dir"):
        to_openmmlab(cfg, weights, path)


def test_a_checkpoint_of_another_model_is_refused_and_leaves_no_file(tmp_path):
    cfg = small_config("cls/uniformer_s_in1k")
    labelled = small_config("cls/uniformer_s_tl_224_in1k")
    cfg.model.backbone.head_dim = labelled.model.backbone.head_dim
    torch.save(small_state(labelled), tmp_path / "labelled.pth")
    torch.save({"a": torch.ones(1)}, tmp_path / "other.pth")
    for convert in (to_openmmlab, to_official):
        for name, fact in (("labelled", r"unexpected keys head\.aux_fc"), ("other", "it has a, ")):
            with pytest.raises(CheckpointError, match=rf"(?s){name}\.pth .*{fact}"):
                convert(cfg, str(tmp_path / f"{name}.pth"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("convert", [to_openmmlab, to_official])
def test_a_converted_file_states_its_head_dim_under_any_name(classifier, tmp_path, convert):
    cfg, weights = classifier
    path, _ = convert(cfg, weights, tmp_path)
    path = path.rename(tmp_path / "mask_rcnn_uniformer_s_plus-1a2b3c4d.pth")
    _, report = to_openmmlab(cfg, str(path), tmp_path / "again")
    assert report.fits
    cfg.model.backbone.head_dim = 56
    with pytest.raises(CheckpointError, match=r"1a2b3c4d\.pth .* 28 .* 56: "):
        to_openmmlab(cfg, str(path), tmp_path / "out")


@pytest.mark.parametrize("name", ["pose/td_hm_uniformer_s_256x192", "cls/uniformer_xxs_128_in1k"])
def test_safetensors_have_the_same_content(name, tmp_path):
    cfg = small_config(name)
    torch.save(small_state(cfg), tmp_path / "weights.pth")
    weights = str(tmp_path / "weights.pth")
    path, _ = to_openmmlab(cfg, weights, tmp_path, ".safetensors")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f"{Path(name).name}-{digest[:8]}.safetensors"
    content = read_checkpoint(str(path.rename(tmp_path / "renamed.pth")))
    expected = read_checkpoint(str(to_openmmlab(cfg, weights, tmp_path)[0]))
    assert content["meta"]["uniformer"] == expected["meta"]["uniformer"]
    ours, theirs = content["meta"]["dataset_meta"], expected["meta"]["dataset_meta"]
    assert ours.keys() == theirs.keys()
    if "pose" in name:
        assert ours["keypoint_id2name"] == theirs["keypoint_id2name"]
    else:
        assert tuple(ours["classes"]) == tuple(theirs["classes"])
    tensors = expected["state_dict"]
    assert all(torch.equal(content["state_dict"][key], tensors[key]) for key in tensors)


def test_weights_that_are_not_finite_are_one_warning(classifier, tmp_path, capsys):
    cfg, weights = classifier
    state = torch.load(weights)
    names = [name for name, tensor in state.items() if tensor.is_floating_point()][2:5]
    for name, value in zip(names, (float("nan"), float("inf"), -float("inf")), strict=True):
        state[name].flatten()[0] = value
    torch.save(state, weights)
    forget_runs()  # a logger of this phase of the test
    to_openmmlab(cfg, weights, tmp_path / "out")
    (warning,) = [line for line in capsys.readouterr().out.splitlines() if "NaN or Inf" in line]
    assert f"3 of {len(state)} tensors" in warning
    assert names[0] in warning


def test_weights_of_integers_are_refused(classifier, tmp_path):
    cfg, weights = classifier
    state = torch.load(weights)
    name = next(name for name in state if name.endswith("conv1.weight"))
    for dtype in (torch.int64, torch.bool, torch.uint8):
        state[name] = state[name].to(dtype)
        torch.save(state, weights)
        with pytest.raises(CheckpointError, match=rf"{name} {dtype} instead of torch\.float32"):
            to_openmmlab(cfg, weights, tmp_path / "out")
