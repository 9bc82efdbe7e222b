"""`mim download` says that a model has no weights."""

from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

from uniformer_mm.checkpoints.zoo import list_models
from uniformer_mm.compat.mim_without_weights import patch_search, patch_utils

MODEL = next(model for model in list_models() if not model.weights)
WEIGHTS = {MODEL.name: float("nan"), "other": float("nan"), "public": "https://host/file.pth"}


@pytest.fixture
def mim() -> Any:
    """The functions of openmim that matter here; the tests do without it."""
    info = {name: {"weight": url, "config": f"{name}.py"} for name, url in WEIGHTS.items()}
    mim: Any = SimpleNamespace(
        get_model_info=lambda package, to_dict: info, download_from_file=lambda url, path: path
    )
    for _ in range(2):
        patch_search(mim)
        patch_utils(mim)
    return mim


@pytest.mark.parametrize(
    ("name", "page"), [(MODEL.name, f": see {MODEL.weights_page}"), ("other", "")]
)
def test_a_model_without_weights_is_named(mim: Any, name: str, page: str) -> None:
    (url,) = mim.get_model_info("uniformer-mm", to_dict=True)[name]["weight"].split(",")
    with pytest.raises(import_module("click").ClickException) as caught:
        mim.download_from_file(url, "path")
    assert caught.value.message == f"{name} has no public direct download{page}"


def test_others_are_downloaded(mim: Any) -> None:
    url = mim.get_model_info("uniformer-mm", to_dict=True)["public"]["weight"]
    assert url == WEIGHTS["public"]
    assert mim.download_from_file(url, "path") == "path"
