"""The hook alone; test_load_everything runs it with real runners and files."""

import re
import types
from pathlib import Path

import pytest
import torch
from mmengine.model import BaseTTAModel
from mmengine.registry import HOOKS
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import nn

from uniformer_mm.checkpoints import CheckpointError
from uniformer_mm.engine.hooks.fit_checkpoint import FitCheckpointHook
from uniformer_mm.models import UniFormer


def load(hook, model, content):
    """Have a hook and mmengine load the content of a checkpoint into a model."""
    runner = types.SimpleNamespace(
        model=model, param_schedulers=None, _load_from="weights.pth", _resume=False, _train_loop={}
    )
    hook.after_load_checkpoint(runner, content)
    _load_checkpoint_to_model(model, content)
    return runner


def test_configs_name_it_without_importing_it():
    hook = HOOKS.build({"type": "mmengine.FitCheckpointHook", "new_heads": True})
    assert isinstance(hook, FitCheckpointHook)
    assert hook.new_heads


def test_before_a_run_sources_are_located_and_mmengine_gets_our_reader(
    tmp_path, server, monkeypatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    torch.save({"a": torch.ones(1)}, tmp_path / "file.pth")
    runner = types.SimpleNamespace(_load_from=f"{server}/file.pth", _has_loaded=False)
    FitCheckpointHook().before_run(runner)
    assert Path(runner._load_from).read_bytes() == (tmp_path / "file.pth").read_bytes()
    for source in (f"{server}/file.pth", runner._load_from):
        assert CheckpointLoader.load_checkpoint(source)["a"] == 1
    for source in ("absent.pth", f"{server}/absent.pth", "hf://absent", "https://[::1/a.pth"):
        with pytest.raises(CheckpointError, match=re.escape(source)):
            CheckpointLoader.load_checkpoint(source)
    runner._load_from = "s3://bucket/file.pth"
    FitCheckpointHook().before_run(runner)
    assert runner._load_from == "s3://bucket/file.pth"
    loader = CheckpointLoader._get_checkpoint_loader(runner._load_from)
    assert loader.__name__ == "load_from_ceph", "other schemes stay mmengine's"


def test_before_a_second_run_nothing_is_located():
    """The checkpoint that a training was resumed from may have been removed since."""
    runner = types.SimpleNamespace(_load_from="removed.pth", _has_loaded=True)
    FitCheckpointHook().before_run(runner)
    assert runner._load_from == "removed.pth"
    runner._has_loaded = False
    with pytest.raises(CheckpointError, match=r"removed\.pth"):
        FitCheckpointHook().before_run(runner)


class Augmented(BaseTTAModel):
    def merge_preds(self, data_samples_list):
        return data_samples_list


@pytest.mark.parametrize("wrap", [Augmented, nn.DataParallel])
def test_wrappers_are_unwrapped(wrap):
    model = nn.ModuleDict({"backbone": nn.Conv2d(3, 4, 1), "head": nn.Linear(4, 3)})
    model.test_step = None  # what mmengine asks of a model
    content = {"model": {name: tensor + 1 for name, tensor in model.state_dict().items()}}
    expected = content["model"]["head.bias"]
    load(FitCheckpointHook(), wrap(model), content)
    assert torch.equal(model["head"].bias, expected)


class Student(nn.Module):
    """A student and its teacher that give a plain model's tensors to both, as mmdet's do."""

    def __init__(self):
        super().__init__()
        self.student, self.teacher = (nn.ModuleDict({"backbone": make_backbone()}) for _ in "ab")
        self.register_load_state_dict_pre_hook(self.rename)

    @staticmethod
    def rename(module, state, prefix, *_):
        for name in [name for name in state if name.startswith("backbone.")]:
            weights = state.pop(name)
            state.update({f"student.{name}": weights, f"teacher.{name}": weights})


def make_backbone():
    arch = {"depths": (1, 1, 1, 1), "embed_dims": (8, 8, 8, 8), "head_dim": 8}
    return UniFormer(arch)


@pytest.mark.parametrize("names", ["backbone.", "student.backbone.", "encoder."])
def test_a_model_of_several_models_gets_something_for_a_backbone(names):
    model, given = Student(), make_backbone()
    state = {f"{names}{name}": weights for name, weights in given.state_dict().items()}
    hook = FitCheckpointHook()
    runner = load(hook, model, {"state_dict": state})
    if names == "encoder.":
        with pytest.raises(CheckpointError, match=r"weights\.pth .*'student\.backbone\.'"):
            hook.before_train(runner)
    else:
        hook.before_train(runner)
        loaded = model.student["backbone"].norm4.weight
        assert torch.equal(loaded, given.norm4.weight)
    hook.before_test(runner)
    model.load_state_dict({}, strict=False)
    assert not model.student["backbone"]._load_state_dict_pre_hooks, "nothing is left behind"
