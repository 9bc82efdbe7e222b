"""`mim download` says that a model has no weights."""

import sys
from importlib import import_module
from types import ModuleType

import pytest

from uniformer_mm.checkpoints.zoo import list_models
from uniformer_mm.compat import mim_without_weights

NAME = next(model.name for model in list_models() if not model.weights)
PAGE = next(model.weights_page for model in list_models() if model.name == NAME)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of openmim, which the tests do without, in the parts that matter here."""
    mim = ModuleType("mim.commands.download")
    weights = {NAME: float("nan"), "other": float("nan"), "public": "https://host/file.pth"}
    mim.get_model_info = lambda package, shown_fields, to_dict: {
        name: {"weight": weight} for name, weight in weights.items()
    }
    mim._download_configs = lambda package, configs, root: (package, configs, root)
    monkeypatch.setitem(sys.modules, "mim.commands.download", mim)
    mim_without_weights.patch(mim)
    mim_without_weights.patch(mim)
    return mim


@pytest.mark.parametrize(("name", "page"), [(NAME, f": see {PAGE}"), ("other", "")])
def test_a_model_without_weights_is_named(module: ModuleType, name: str, page: str) -> None:
    click = import_module("click")
    with pytest.raises(click.ClickException) as caught:
        module._download_configs("uniformer-mm", ["public", name], "folder")
    assert caught.value.message == f"{name} has no public direct download{page}"


def test_others_are_downloaded(module: ModuleType) -> None:
    for names in (["public"], ["unknown"]):
        assert module._download_configs("p", names, "folder") == ("p", names, "folder")
