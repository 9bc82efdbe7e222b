"""Pretrained weights: read as data, matched by name, never silently nothing."""

import pickle

import pytest
import torch

from uniformer_mm.checkpoints import CheckpointError, load_pretrained, read_checkpoint
from uniformer_mm.models import UniFormer

TINY = {"depths": (1, 1, 2, 1), "embed_dims": (16, 32, 64, 64), "head_dim": 32}


def make(seed=0, **options):
    torch.manual_seed(seed)
    return UniFormer(**{"arch": TINY, **options})


@pytest.fixture
def classifier_state():
    """A state dict as the ImageNet classifiers have it: BatchNorm at the end, and a head."""
    state = make(seed=1, output_norm="batch").state_dict()
    return {**state, "head.weight": torch.zeros(1000, 64), "head.bias": torch.zeros(1000)}


def saved(tmp_path, content):
    path = tmp_path / "checkpoint.pth"
    torch.save(content, path)
    return str(path)


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state},
        lambda state: {"state_dict": state, "meta": {"epoch": 1}},
        lambda state: {"model_state": state},
        lambda state: {"state_dict": prefixed(state, "module.")},
        lambda state: {"state_dict": prefixed(state, "backbone.")},
        lambda state: {
            "state_dict": {**prefixed(state, "module.backbone."), "module.neck.w": torch.ones(1)}
        },
    ],
    ids=["flat", "model", "state_dict", "slowfast", "ddp", "detector", "ddp detector"],
)
def test_wrappers_and_prefixes_are_found(tmp_path, classifier_state, wrap):
    model = make(init_cfg={"type": "Pretrained"})
    model.init_cfg["checkpoint"] = saved(tmp_path, wrap(classifier_state))
    model.init_weights()
    for name, tensor in model.state_dict().items():
        if not name.startswith("norm"):
            assert torch.equal(tensor, classifier_state[name]), name


def test_report_says_what_was_dropped_and_kept(tmp_path, classifier_state):
    model = make()
    report = load_pretrained(model, saved(tmp_path, classifier_state))
    assert set(report.dropped) >= {"head.weight", "head.bias", "norm.weight"}
    assert set(report.kept_at_init) == {
        f"norm{i}.{p}" for i in range(1, 5) for p in ["bias", "weight"]
    }
    assert not report.missing
    assert not report.unexpected
    assert "dropped on purpose" in str(report)


def test_fewer_stages_drop_the_others(tmp_path, classifier_state):
    report = load_pretrained(make(out_indices=(0, 1)), saved(tmp_path, classifier_state))
    assert any(name.startswith("blocks4.") for name in report.dropped)


def test_image_weights_are_inflated_to_a_mean_over_time(tmp_path, classifier_state):
    video = make(dims=3).eval()
    report = load_pretrained(video, saved(tmp_path, classifier_state))
    kernel = classifier_state["blocks1.0.attn.weight"]
    for frame in range(5):
        assert torch.equal(video.blocks1[0].attn.weight[:, :, frame], kernel / 5)
    assert "blocks1.0.attn.weight" in report.inflated
    # In the interior of a long still clip a depthwise convolution gives the image's result.
    image = torch.randn(1, 16, 9, 9)
    clip = image.unsqueeze(2).expand(-1, -1, 9, -1, -1)
    torch.testing.assert_close(
        video.blocks1[0].attn(clip)[:, :, 4],
        torch.nn.functional.conv2d(
            image, kernel, classifier_state["blocks1.0.attn.bias"], padding=2, groups=16
        ),
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": {**TINY, "depths": (1, 1, 3, 1)}}, r"missing: blocks3\.2\."),
        ({"layer_scale": "all"}, r"missing: .*gamma_1"),
        ({"arch": {**TINY, "embed_dims": (16, 32, 96, 64)}}, r"wrong shape: .*instead of"),
        ({"arch": {**TINY, "stem": "conv"}}, r"another arch, stem, layer_scale or dims"),
    ],
)
def test_wrong_architecture_raises_and_loads_nothing(tmp_path, classifier_state, options, message):
    model = make(**options)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(model, saved(tmp_path, classifier_state))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_layer_scale_is_added_when_asked_for(tmp_path, classifier_state):
    model = make(layer_scale="all", layer_scale_init=0.1)
    path = saved(tmp_path, classifier_state)
    report = load_pretrained(model, path, may_miss=["gamma_1", "gamma_2"])
    assert "blocks1.0.gamma_1" in report.kept_at_init
    assert model.blocks1[0].gamma_1.eq(0.1).all()


def test_foreign_checkpoint_raises(tmp_path):
    with pytest.raises(CheckpointError, match="Nothing matched"):
        load_pretrained(make(), saved(tmp_path, {"layer1.0.conv1.weight": torch.ones(1)}))
    with pytest.raises(CheckpointError, match="no tensors in the checkpoint"):
        load_pretrained(make(), saved(tmp_path, {"epoch": 3}))


def test_unknown_extra_tensor_is_reported(tmp_path, classifier_state):
    classifier_state["blocks1.0.extra"] = torch.ones(1)
    report = load_pretrained(make(), saved(tmp_path, classifier_state))
    assert report.unexpected == ["blocks1.0.extra"]


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("save", [torch.save, lambda c, p: p.write_bytes(pickle.dumps(c))])
def test_code_in_a_checkpoint_does_not_run(tmp_path, save):
    path = tmp_path / "evil.pth"
    save({"state_dict": Evil(tmp_path / "ran")}, path)
    with pytest.raises(CheckpointError, match="could run code"):
        read_checkpoint(str(path))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\x03\x04 cut off"])
def test_damaged_files_are_named(tmp_path, content):
    path = tmp_path / "damaged.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"damaged\.pth"):
        read_checkpoint(str(path))


def test_missing_file_and_unreachable_host_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*absent\.pth"):
        read_checkpoint(str(tmp_path / "absent.pth"))
    with pytest.raises(CheckpointError, match="set init_cfg to None"):
        read_checkpoint("http://127.0.0.1:9/weights.pth")


def test_a_url_is_loaded_through_the_cache(tmp_path, server, classifier_state, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    saved(tmp_path, classifier_state)
    report = load_pretrained(make(), f"{server}/checkpoint.pth")
    assert report.matched
    assert list((tmp_path / "cache").rglob("checkpoint.pth"))
    with pytest.raises(CheckpointError, match=r"absent\.pth.*404"):
        load_pretrained(make(), f"{server}/absent.pth")
