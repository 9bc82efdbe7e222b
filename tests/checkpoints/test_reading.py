"""Checkpoints are read as data: code in one does not run, and what is none is named."""

import argparse
import pickle
from pathlib import Path

import pytest
import torch

from uniformer_mm.checkpoints import CheckpointError, read_checkpoint
from uniformer_mm.checkpoints.reading import find_state_dict


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("save", [torch.save, lambda c, p: p.write_bytes(pickle.dumps(c))])
def test_code_in_a_checkpoint_does_not_run(tmp_path, save):
    path = tmp_path / "evil.pth"
    save({"state_dict": Evil(tmp_path / "ran")}, path)
    with pytest.raises(CheckpointError, match=r"evil\.pth is not loaded.*could run code") as caught:
        read_checkpoint(str(path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_what_a_checkpoint_asks_for_is_named(tmp_path):
    torch.save({"state_dict": {}, "path": tmp_path}, tmp_path / "path.pth")
    with pytest.raises(CheckpointError, match=r"it asks for pathlib\.\w*PosixPath"):
        read_checkpoint(str(tmp_path / "path.pth"))


def test_the_command_line_beside_official_weights_is_read(tmp_path):
    content = {"model": {"a": torch.ones(1)}, "args": argparse.Namespace(lr=1e-3, output_dir="out")}
    torch.save(content, tmp_path / "best.pth")
    assert read_checkpoint(str(tmp_path / "best.pth"))["args"] == content["args"]
    assert argparse.Namespace not in torch.serialization.get_safe_globals(), "for us only"


def test_the_environment_does_not_switch_the_protection_off(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    test_code_in_a_checkpoint_does_not_run(tmp_path, torch.save)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"cannot read the checkpoint .*damaged\.pth: it is empty"),
        (b"\n<HTML><body>404", r"cannot read the checkpoint .*damaged\.pth: it is a web page"),
        (
            b"version https://git-lfs.github.com/spec/v1",
            r"cannot read the checkpoint .*damaged\.pth: it is a Git LFS pointer",
        ),
        (b"PK\x03\x04 cut off", r"cannot read the checkpoint .*damaged\.pth: it is truncated"),
        (b"some text", "cannot read the checkpoint"),
        (b"\x80\x02}q\x00", "cannot read the checkpoint"),
    ],
)
def test_damaged_files_are_named_in_one_line(tmp_path, content, message):
    path = tmp_path / "damaged.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "weights.pth").touch()
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CheckpointError, match=r"cannot read .*weights\.pth: Permission denied$"):
        read_checkpoint(str(tmp_path / "weights.pth"))


def test_safetensors_files_are_read(tmp_path):
    from safetensors.torch import save_file

    # A header of 0x3c20 bytes, whose length is " <" to a reader of web pages.
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.arange(3)}, path, {"padding": "x" * (0x3C20 - 88)})
    assert path.read_bytes()[:2] == b" <"
    for device in ("cpu", None, torch.device("cpu"), lambda storage, _: storage):
        assert read_checkpoint(str(path), device)["a"].tolist() == [0, 1, 2]
    renamed = path.with_suffix(".pth")
    renamed.write_bytes(path.read_bytes())
    assert read_checkpoint(str(renamed))["a"].tolist() == [0, 1, 2], "the content decides"
    path.write_bytes(b"\x00" * 40)
    with pytest.raises(CheckpointError, match=r"cannot read the checkpoint .*weights\.safetensors"):
        read_checkpoint(str(path))


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
    assert set(find_state_dict(content)) == {"a"}


@pytest.mark.parametrize("content", [{}, [], torch.ones(1), {"state_dict": {}}, {"model": "name"}])
def test_without_tensors_there_is_none(content):
    with pytest.raises(CheckpointError, match="no tensors in the checkpoint"):
        find_state_dict(content)
