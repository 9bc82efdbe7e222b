"""Without a private part of torch, training and inference give the same."""

import pytest
import torch
from torch import nn

from uniformer_mm import torch_internals
from uniformer_mm.models import UniFormer
from uniformer_mm.models.fuse import fuse
from uniformer_mm.models.layers import recompute

TINY = {"depths": (1, 1, 4, 1), "embed_dims": (16, 32, 64, 64), "head_dim": 32}


def gradients():
    torch.manual_seed(0)
    model = UniFormer(TINY, attention="hybrid", window_size=3).train()
    sum(output.square().mean() for output in model(torch.randn(1, 3, 64, 64))).backward()
    return {name: weight.grad for name, weight in model.named_parameters()}


def without_version(monkeypatch):
    monkeypatch.setattr(recompute, "TENSORS_HAVE_VERSIONS", False)
    monkeypatch.setattr(recompute, "version", None)


def without_top_of_hooks(monkeypatch):
    monkeypatch.delattr(torch._C._autograd, "_top_saved_tensors_default_hooks", raising=False)


@pytest.mark.parametrize("remove", [without_version, without_top_of_hooks])
def test_training_gives_the_same_and_recomputes_nothing(monkeypatch, remove):
    expected = gradients()
    remove(monkeypatch)
    x = torch.randn(1, 2)
    with recompute.recompute_activations(x):
        assert recompute._active() is None
    for name, gradient in gradients().items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6, msg=name)


def test_a_fused_model_predicts_the_same(monkeypatch):
    model, x = fuse(UniFormer(TINY).eval()), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = model(x)
        monkeypatch.setattr(torch.ops, "mkldnn", object())
        assert torch_internals.linear_pointwise() is None
        outputs = model(x)
    for output, wanted in zip(outputs, expected, strict=True):
        torch.testing.assert_close(output, wanted, rtol=1e-4, atol=1e-5)


def test_an_exported_program_gives_the_same():
    model, x = nn.Conv2d(3, 4, 3).eval(), torch.randn(2, 3, 8, 9)
    program = torch.export.export(model, (x,))
    torch_internals.drop_layout_guards(object())
    assert torch.equal(program.module()(x), model(x))
