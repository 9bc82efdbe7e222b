"""The size of an attention head, which shapes do not tell, is known under any file name."""

import hashlib

import pytest
import torch
from torch import nn

from uniformer_mm.checkpoints import CheckpointError, load_pretrained, published
from uniformer_mm.checkpoints.head_dims import check_head_dim, describe_backbone
from uniformer_mm.checkpoints.published import PublishedFile
from uniformer_mm.models import UniFormer

ARCH = {"depths": (1, 1, 1, 1), "embed_dims": (16, 16, 64, 64)}
ASSUMED = "are assumed"


@pytest.fixture
def saved(tmp_path):
    """Writes the weights of a backbone, with a meta if it is given."""

    def write(name, meta=None):
        state = UniFormer(ARCH).state_dict()
        torch.save(state if meta is None else {"state_dict": state, "meta": meta}, tmp_path / name)
        return tmp_path / name

    return write


def test_what_a_checkpoint_says_of_itself_comes_first(saved):
    meta = describe_backbone(nn.ModuleDict({"backbone": UniFormer(ARCH, head_dim=32)}))
    assert meta == {
        "uniformer": {
            "type": "UniFormer",
            "depths": [1, 1, 1, 1],
            "embed_dims": [16, 16, 64, 64],
            "head_dim": 32,
        }
    }
    path = saved("uniformer_small_in1k.pth", meta)
    with pytest.raises(CheckpointError, match="heads of 32 channels, the model has 64: set head_d"):
        load_pretrained(UniFormer(ARCH), str(path))
    load_pretrained(UniFormer(ARCH, head_dim=32), str(path))


@pytest.mark.parametrize(
    "name",
    [
        "uniformer_small_plus_in1k.pth",
        "uniformer_small_tl_224.pth",
        "uniformer_xxs_160_in1k.pth",
        "mask_rcnn_uniformer_s_plus-1a2b3c4d.pth",
        "uniformer_s_plus_in1k_20230724-0123abcd.pth",
        "weights.pth",
    ],
)
def test_names_say_nothing_and_a_warning_says_what_is_assumed(saved, name, capsys):
    path = saved(name)
    for head_dim in (64, 32):
        load_pretrained(UniFormer(ARCH, head_dim=head_dim), str(path))
        assert f"the model's {head_dim} {ASSUMED}" in capsys.readouterr().out


def test_a_published_file_is_known_by_its_hash(saved, monkeypatch, capsys):
    path = saved("renamed.pth")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(published, "known_files", lambda: {digest[:8]: PublishedFile(head_dim=32)})
    with pytest.raises(CheckpointError, match=r"renamed\.pth was trained with .* 32 channels"):
        load_pretrained(UniFormer(ARCH), str(path))
    load_pretrained(UniFormer(ARCH, head_dim=32), str(path))
    assert ASSUMED not in capsys.readouterr().out
    path.write_bytes(saved("other.pth", {"changed": 1}).read_bytes())
    load_pretrained(UniFormer(ARCH), str(path))
    assert ASSUMED in capsys.readouterr().out, "another file of the same name"


def test_a_model_without_attention_heads_is_not_asked(capsys):
    check_head_dim({}, "resnet.pth", None)
    assert describe_backbone(nn.ModuleDict({"backbone": nn.Linear(1, 1)})) == {}
    assert ASSUMED not in capsys.readouterr().out


@pytest.mark.parametrize("entry", ["64", {"head_dim": "64"}, {"head_dim": 0}, {}, [64]])
def test_an_entry_of_the_wrong_type_is_named(entry):
    with pytest.raises(
        CheckpointError, match=r"odd\.pth: meta\.uniformer\.head_dim must be a posi"
    ):
        check_head_dim({"meta": {"uniformer": entry}}, "odd.pth", 64)
