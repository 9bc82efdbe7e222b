"""Checkpoints are read as data: code in a file is not run, and a file that is not one is named."""

import argparse
import gzip
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from uniformer_mm.checkpoints import CheckpointError
from uniformer_mm.checkpoints.io import find_state_dict, read_file


def test_a_forbidden_global_is_named(tmp_path):
    torch.save({"state_dict": {}, "path": tmp_path}, tmp_path / "path.pth")
    with pytest.raises(CheckpointError, match=r"path\.pth .*pathlib\.(\w+\.)?PosixPath"):
        read_file(tmp_path / "path.pth")


def test_the_command_line_in_official_files_is_read(tmp_path):
    content = {"model": {"a": torch.ones(1)}, "args": argparse.Namespace(lr=1e-3, output_dir="out")}
    torch.save(content, tmp_path / "best.pth")
    assert read_file(tmp_path / "best.pth")["args"] == content["args"]
    assert argparse.Namespace not in torch.serialization.get_safe_globals(), "for us only"


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (b"", "empty"),
        (b"\n<HTML><body>404", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        (b"PK\x03\x04 cut off", "truncated"),
        (b"some text", ""),
        (b"\x80\x02}q\x00", ""),
        (b"\x00" * 40, ""),
        (gzip.compress(b"weights", mtime=0), "gzip"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path, content, fact):
    path = tmp_path / "damaged.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=fact) as caught:
        read_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "weights.pth").touch()
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CheckpointError, match=r"weights\.pth: Permission denied$"):
        read_file(tmp_path / "weights.pth")


@pytest.mark.parametrize("device", ["cpu", None, torch.device("cpu"), lambda storage, _: storage])
def test_safetensors_are_read_under_any_name(tmp_path, device):
    # A header of 0x3c20 bytes, whose length reads " <" like the start of a web page.
    path = tmp_path / "weights.pth"
    save_file({"a": torch.arange(3)}, path, {"padding": "x" * (0x3C20 - 88)})
    assert path.read_bytes()[:2] == b" <"
    assert read_file(path, device)["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "content",
    [
        {"a": torch.ones(1)},
        {"a": torch.ones(1), "epoch": 3},
        {"model": {"a": torch.ones(1)}, "optimizer": {}},
        {"model_state": {"a": torch.ones(1)}, "cfg": "text"},
        {"state_dict": {"a": torch.ones(1)}, "meta": {}},
    ],
)
def test_the_state_dict_is_found_in_its_wrappers(content):
    assert set(find_state_dict(content, Path("a.pth"))) == {"a"}


@pytest.mark.parametrize("content", [{}, [], torch.ones(1), {"state_dict": {}}, {"model": "name"}])
def test_a_file_without_tensors_is_refused(content):
    with pytest.raises(CheckpointError, match=r"no tensors in a\.pth"):
        find_state_dict(content, Path("a.pth"))
