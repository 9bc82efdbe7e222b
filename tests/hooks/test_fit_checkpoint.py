"""The checkpoint of a whole model gets the model's names, or an error says what does not fit."""

import types

import pytest
import torch
from torch import nn

from uniformer_mm.checkpoints import CheckpointError
from uniformer_mm.hooks import fit_checkpoint
from uniformer_mm.hooks.fit_checkpoint import FitCheckpointHook


def make_model(num_classes=3):
    return nn.ModuleDict({"backbone": nn.Conv2d(3, 4, 1), "head": nn.Linear(4, num_classes)})


def fit(model, state, **options):
    runner = types.SimpleNamespace(model=model, _load_from="weights.pth")
    checkpoint = {"state_dict": state}
    FitCheckpointHook(**options).after_load_checkpoint(runner, checkpoint)
    return checkpoint["state_dict"]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_its_own_checkpoint_fits(exact, prefix):
    model = make_model()
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    assert set(fit(model, state, exact=exact)) == set(model.state_dict())


@pytest.mark.parametrize(
    ("exact", "remedy"), [(True, "set num_classes of the heads"), (False, "add --new-heads")]
)
def test_other_classes_are_named(exact, remedy):
    message = rf"(?s)weights\.pth.*head\.weight \(5, 4\) instead of \(3, 4\).*{remedy}"
    with pytest.raises(CheckpointError, match=message):
        fit(make_model(3), make_model(5).state_dict(), exact=exact)


def test_new_heads_start_anew_when_asked_for_and_the_report_says_so(monkeypatch):
    said = []
    monkeypatch.setattr(fit_checkpoint, "print_log", lambda text, logger: said.append(text))
    fitting = fit(make_model(3), make_model(5).state_dict(), new_heads=True)
    assert set(fitting) == {"backbone.weight", "backbone.bias"}
    assert "2 left at their initial values on purpose: head.weight, head.bias" in said[0]


def test_a_backbone_alone_is_enough_for_training_but_not_for_testing():
    state = {k: v for k, v in make_model().state_dict().items() if k.startswith("backbone.")}
    assert set(fit(make_model(), state)) == set(state)
    with pytest.raises(CheckpointError, match=r"2 missing: head\.weight"):
        fit(make_model(), state, exact=True)


@pytest.mark.parametrize("options", [{"exact": True}, {}, {"new_heads": True}])
def test_a_backbone_that_does_not_fit_is_refused(options):
    state = make_model().state_dict()
    state["backbone.weight"] = torch.zeros(8, 3, 1, 1)
    with pytest.raises(CheckpointError, match=r"backbone\.weight \(8, 3, 1, 1\) instead of"):
        fit(make_model(), state, **options)


@pytest.mark.parametrize("options", [{"exact": True}, {}, {"new_heads": True}])
def test_a_checkpoint_of_something_else_is_refused(options):
    with pytest.raises(CheckpointError, match="Nothing in it is of this model"):
        fit(make_model(), nn.Linear(2, 2).state_dict(), **options)
