"""What tools say of errors: a user's mistakes in one line, bugs with their traceback."""

import errno

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import nn

from uniformer_mm.apis.cli import explanation, run_tool
from uniformer_mm.apis.convert import build_empty_model
from uniformer_mm.errors import UserError

KILLED = "DataLoader worker (pid 17) is killed by signal: Killed."


def raised(function):
    """The error of a function."""
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def wrapped(cause):
    """An error that comes up in the middle of code which makes another one of it."""

    def fail():
        try:
            raise cause
        except BaseException:
            raise SyntaxError("Failed to format the config file, check \n a = 1")  # noqa: B904

    return raised(fail)


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (RuntimeError(KILLED), "a process that reads data has ended: DataLoader worker (pid 17)"),
        (OSError(errno.ENOSPC, "No space left on device"), "cannot write logs: No space left"),
        (UserError("no image at a.jpg"), "no image at a.jpg"),
    ],
)
def test_what_comes_from_outside_is_found_behind_other_errors(cause, message):
    assert explanation(wrapped(cause)).startswith(message)
    assert explanation(cause).startswith(message)


def test_a_bug_is_not_explained_by_an_error_that_was_being_handled():
    def fail():
        try:
            MODELS.build({"type": "Nowhere"})
        except KeyError:
            None.name  # noqa: B018

    assert explanation(raised(fail)) == ""


def test_control_characters_do_not_reach_the_terminal(capsys):
    def main():
        raise UserError("cannot read \x1b[31mred\x07.pth\nsecond line \udcff")

    with pytest.raises(SystemExit) as caught:
        run_tool(main)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: cannot read ?[31mred?.pth\nsecond line ?\n"


@MODELS.register_module()
class OwnHead(nn.Module):
    """Code of a user's own."""

    def __init__(self, width, mode="sound"):
        super().__init__()
        if mode == "absent":
            self.nothing  # noqa: B018
        elif mode == "refused":
            torch.optim.SGD([torch.zeros(1)], lr=-1)
        elif mode == "inner":
            MODELS.build({"type": "mmengine.UniFormer", "arch": "tiny"})


def build(model):
    """Build a model as the tools do."""
    return build_empty_model(Config({"default_scope": "mmengine", "model": model}))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"width": 1, "height": 1}, "OwnHead: TypeError: .*unexpected keyword argument 'height'"),
        ({}, "OwnHead: TypeError: .*missing 1 required .*'width'"),
        ({"type": "Nowhere"}, "Nowhere: KeyError"),
    ],
)
def test_what_does_not_fit_a_type_is_a_fault_of_the_config(config, message):
    with pytest.raises(UserError, match=f"the config cannot be built: {message}"):
        build({"type": "OwnHead", **config})


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("absent", AttributeError), ("refused", ValueError), ("inner", ValueError)],
)
def test_what_fails_in_code_of_ones_own_is_raised_as_it_is(mode, kind):
    with pytest.raises(kind) as caught:
        build({"type": "OwnHead", "width": 1, "mode": mode})
    (hint,) = caught.value.__notes__
    assert hint.startswith("hint: it came up while ")
    assert explanation(caught.value) == ""


def test_what_the_stack_refuses_is_a_fault_of_the_config():
    with pytest.raises(UserError, match="UniFormer: ValueError: arch must be one of"):
        build({"type": "UniFormer", "arch": "tiny"})
