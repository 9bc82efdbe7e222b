"""What does not fit the model is said before it is loaded."""

import types

import pytest
import torch
from torch import nn

from uniformer_mm.checkpoints.loading import CheckpointError
from uniformer_mm.hooks import checkpoint_fits
from uniformer_mm.hooks.checkpoint_fits import CheckpointFitsHook, find_misfits


def make_model(num_classes=3):
    parts = {"backbone": nn.Conv2d(3, 4, 1), "head": nn.Linear(4, num_classes)}
    return nn.ModuleDict(parts)


def check(model, state, exact):
    runner = types.SimpleNamespace(model=model, _load_from="weights.pth")
    CheckpointFitsHook(exact).after_load_checkpoint(runner, {"state_dict": state})


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_its_own_checkpoint_fits(exact, prefix):
    model = make_model()
    check(model, {prefix + name: tensor for name, tensor in model.state_dict().items()}, exact)


def test_other_classes_are_named_when_everything_has_to_fit():
    message = (
        r"(?s)weights\.pth does not fit.*head\.weight has shape \(5, 4\) there, \(3, 4\) in the"
        r" model.*num_classes"
    )
    with pytest.raises(CheckpointError, match=message):
        check(make_model(3), make_model(5).state_dict(), exact=True)


def test_fine_tuning_starts_other_heads_anew_and_says_so(monkeypatch):
    said = []
    monkeypatch.setattr(checkpoint_fits, "print_log", lambda text, logger: said.append(text))
    check(make_model(3), make_model(5).state_dict(), exact=False)
    assert "head.bias has shape (5,) there, (3,) in the model" in said[0]


@pytest.mark.parametrize("exact", [True, False])
def test_a_backbone_that_does_not_fit_is_refused(exact):
    state = make_model().state_dict()
    state["backbone.weight"] = torch.zeros(8, 3, 1, 1)
    with pytest.raises(CheckpointError, match=r"backbone\.weight has shape"):
        check(make_model(), state, exact)


@pytest.mark.parametrize("exact", [True, False])
def test_a_checkpoint_of_something_else_is_refused(exact):
    with pytest.raises(CheckpointError, match="Nothing in it is of this model"):
        check(make_model(), nn.Linear(2, 2).state_dict(), exact)


def test_the_counter_of_batch_norm_may_be_missing():
    model = nn.BatchNorm2d(2)
    state = {k: v for k, v in model.state_dict().items() if k != "num_batches_tracked"}
    assert find_misfits(model.state_dict(), state) == {}
    del state["weight"]
    assert find_misfits(model.state_dict(), state) == {"weight": "weight is missing"}
