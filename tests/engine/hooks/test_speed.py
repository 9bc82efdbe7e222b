"""Hooks fuse and compile backbones: same outputs, and the model is restored."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

import uniformer_mm
from uniformer_mm.models.fuse import FusedLocalBlock


class Model(nn.Module):
    """The part of a model that the hooks use."""

    def __init__(self):
        super().__init__()
        self.backbone = uniformer_mm.UniFormer({"depths": (1, 1, 1, 1)}, window_size=3)

    def test_step(self, batch):
        return self.backbone(batch)


class FakeRunner:
    def __init__(self):
        self.model = Model().eval()


def test_the_model_is_fused_while_it_is_tested(monkeypatch):
    runner = FakeRunner()
    moves = []
    move = nn.Module.to
    monkeypatch.setattr(nn.Module, "to", lambda self, *to: moves.append(to) or move(self, *to))
    model, x = runner.model, torch.randn(1, 3, 64, 64)
    hook = HOOKS.build({"type": "mmengine.FuseHook"})
    with torch.no_grad():
        expected = model.test_step(x)
        hook.before_test(runner)
        assert isinstance(runner.model.backbone.blocks1[0], FusedLocalBlock)
        for a, b in zip(runner.model.test_step(x), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    hook.after_test(runner)
    assert runner.model is model
    assert moves == [("cpu",), (torch.device("cpu"),)]  # a GPU holds one of the two


@pytest.mark.slow
def test_the_backbone_is_compiled_and_keeps_its_names():
    runner = FakeRunner()
    names = list(runner.model.state_dict())
    x = torch.randn(1, 3, 64, 64)
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    hook = HOOKS.build({"type": "mmengine.CompileHook", "backend": backend})
    with torch.no_grad():
        expected = runner.model.test_step(x)
    hook.before_test(runner)
    with torch.no_grad():
        for a, b in zip(runner.model.test_step(x), expected, strict=True):
            torch.testing.assert_close(a, b)
        assert len(graphs) == 8  # an embedding and a block of each stage
    numbers = []
    for mode in (True, False):
        runner.model.train(mode)
        for size in (96, 128, 160):
            runner.model.test_step(torch.randn(1, 3, size, 64))
            numbers.append(len(graphs))
    assert numbers[1] == numbers[2]  # dynamic sizes
    assert numbers[4] == numbers[5]
    assert list(runner.model.state_dict()) == names
    assert {"before_train", "before_test"} <= set(hook.get_triggered_stages())


def test_a_runner_takes_both_from_a_config(tmp_path):
    cfg = Config(
        {
            "model": {"type": "mmengine.UniFormer", "arch": {"depths": (1, 1, 1, 1)}},
            "work_dir": str(tmp_path),
            "custom_hooks": [{"type": "mmengine.FuseHook"}, {"type": "mmengine.CompileHook"}],
        }
    )
    names = [type(hook).__name__ for hook in Runner.from_cfg(cfg).hooks]
    assert {"FuseHook", "CompileHook"} <= set(names)
    # The compiled model has to be the fused one.
    assert names.index("FuseHook") < names.index("CompileHook")


def test_the_model_runs_in_bfloat16_while_it_is_tested():
    runner = FakeRunner()
    model, x = runner.model, torch.randn(1, 3, 64, 64)
    hook = HOOKS.build({"type": "mmengine.BFloat16Hook"})
    with torch.no_grad():
        expected = model.test_step(x)
        hook.before_test(runner)
        assert runner.model.backbone.blocks3[0].mlp.fc1.weight.dtype == torch.bfloat16
        for a, b in zip(runner.model.test_step(x), expected, strict=True):
            assert a.dtype == torch.float32
            assert 0 < (a - b).std() < 0.02 * b.std()
    hook.after_test(runner)
    assert runner.model is model
