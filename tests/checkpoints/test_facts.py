"""The head_dim of a checkpoint, which no shape tells, is known under any file name."""

import hashlib
import re

import pytest
import torch
from torch import nn

from uniformer_mm.checkpoints import CheckpointError, facts, load_pretrained
from uniformer_mm.checkpoints.facts import (
    OTHER_FACTS,
    PublishedFile,
    check_head_dim,
    describe_backbone,
    known_files,
    known_hash,
    published_facts,
)
from uniformer_mm.checkpoints.zoo import MIM, list_models
from uniformer_mm.models import ARCHS, LIGHT_ARCHS, UniFormer

ARCH = {"depths": (1, 1, 1, 1), "embed_dims": (16, 16, 64, 64)}
HASHED = [model for model in list_models() if model.weights and known_hash(model.weights)]


@pytest.fixture
def saved(tmp_path):
    """Writes the weights of a backbone, with a meta if it is given."""

    def write(name, meta=None):
        state = UniFormer(ARCH).state_dict()
        torch.save(state if meta is None else {"state_dict": state, "meta": meta}, tmp_path / name)
        return tmp_path / name

    return write


def test_the_meta_of_a_checkpoint_decides(saved, capsys):
    meta = {
        "uniformer": {
            "type": "UniFormer",
            "depths": [1, 1, 1, 1],
            "embed_dims": [16, 16, 64, 64],
            "head_dim": 32,
        }
    }
    backbone = UniFormer(ARCH, head_dim=32)
    assert describe_backbone(nn.ModuleDict({"backbone": backbone})) == meta
    path = saved("uniformer_small_in1k.pth", meta)
    with pytest.raises(CheckpointError, match=r"uniformer_small_in1k.* 32 .* 64.*head_dim=32"):
        load_pretrained(UniFormer(ARCH), str(path))
    report = load_pretrained(backbone, str(path))
    assert len(report.matched) == len(backbone.state_dict())
    assert "WARNING" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["uniformer_small_plus_in1k.pth", "uniformer_s_plus-1a2b3c4d.pth"])
@pytest.mark.parametrize("head_dim", [64, 32])
def test_names_tell_nothing_and_a_warning_says_what_is_assumed(saved, name, head_dim, capsys):
    path = saved(name)
    load_pretrained(UniFormer(ARCH, head_dim=head_dim), str(path))
    warning = next(line for line in capsys.readouterr().out.splitlines() if "WARNING" in line)
    assert str(path) in warning
    assert "head_dim (channels per attention head) and is not" in warning
    assert f" {head_dim} are assumed" in warning


def test_a_published_file_is_known_by_its_hash(saved, monkeypatch, capsys):
    path = saved("renamed.pth")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(facts, "known_files", lambda: {digest[:8]: PublishedFile(head_dim=32)})
    with pytest.raises(CheckpointError, match=r"renamed\.pth .* 32 "):
        check_head_dim({}, path, 64)
    check_head_dim({}, path, 32)
    assert "WARNING" not in capsys.readouterr().out
    path.write_bytes(b"another file of the same name")
    check_head_dim({}, path, 64)
    assert "WARNING" in capsys.readouterr().out


def test_a_model_without_attention_heads_is_not_checked(tmp_path, capsys):
    check_head_dim({}, tmp_path / "resnet.pth", None)
    assert describe_backbone(nn.ModuleDict({"backbone": nn.Linear(1, 1)})) == {}
    assert "WARNING" not in capsys.readouterr().out


@pytest.mark.parametrize("entry", ["64", {"head_dim": "64"}, {"head_dim": 0}, {}, [64]])
def test_an_entry_of_the_wrong_type_is_named(entry, tmp_path):
    with pytest.raises(CheckpointError, match=r"odd\.pth: meta\.uniformer\.head_dim "):
        check_head_dim({"meta": {"uniformer": entry}}, tmp_path / "odd.pth", 64)


def test_every_published_file_has_the_head_dim_of_its_config(monkeypatch, tmp_path):
    assert len(HASHED) > 20
    for model in HASHED:
        text = (MIM / model.config).read_text()
        said = re.search(r"head_dim=(\d+)", text)
        arch = re.search(r'arch="(\w+)"', text)
        default = "xxs" if model.backbone.startswith("XXS") else "small"
        expected = {**ARCHS, **LIGHT_ARCHS}[arch[1] if arch else default].get("head_dim", 64)
        digest = known_hash(model.weights).ljust(64, "0")
        monkeypatch.setattr(facts, "file_hash", lambda path, digest=digest: digest)
        known = published_facts(tmp_path)
        assert known.head_dim == (int(said[1]) if said else expected), model.name
        assert known.alphabetical == ("mmaction" in model.weights), model.name


def test_published_files_outside_of_the_zoo_are_known_and_others_are_not(tmp_path):
    assert known_files().keys() > OTHER_FACTS.keys()
    assert published_facts(tmp_path / "absent.pth") is None
    (tmp_path / "uniformer_small_in1k.pth").write_bytes(b"mine")
    assert published_facts(tmp_path / "uniformer_small_in1k.pth") is None
