"""A checkpoint from a URL is loaded with `weights_only=True`."""

import pickle

import pytest
import torch
from mmengine.runner import CheckpointLoader

import uniformer_mm  # noqa: F401


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_code_in_a_downloaded_checkpoint_does_not_run(tmp_path, server, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    torch.save({"state_dict": Evil(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(pickle.UnpicklingError):
        CheckpointLoader.load_checkpoint(f"{server}/evil.pth", map_location="cpu")
    assert not (tmp_path / "ran").exists()


def test_tensors_still_load(tmp_path, server, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    torch.save({"state_dict": {"weight": torch.ones(2)}}, tmp_path / "good.pth")
    loaded = CheckpointLoader.load_checkpoint(f"{server}/good.pth", map_location="cpu")
    assert torch.equal(loaded["state_dict"]["weight"], torch.ones(2))
