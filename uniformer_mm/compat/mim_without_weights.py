"""`mim download` fails on models without weights.

Defect: it splits the URL of the weights, which is a missing value of pandas where a model has none.
Versions: openmim <= 0.3.9.
Shows as: `AttributeError: 'float' object has no attribute 'split'`, after a traceback.
Repair: the missing URL is a sentence, and the error consists of it. It says where the authors
    publish the weights. The command itself cannot be patched: mim compiles its file at each call.
"""

from importlib import import_module
from types import ModuleType
from typing import Any

from uniformer_mm.compat.patching import wrap


def patch_search(module: ModuleType) -> None:
    """Replace missing weights."""
    wrap(module, "get_model_info", _get_model_info)


def patch_utils(module: ModuleType) -> None:
    """Download URLs only."""
    wrap(module, "download_from_file", _download_from_file)


def _get_model_info(get: Any, *args: Any, **kwargs: Any) -> Any:
    models = get(*args, **kwargs)
    for name, info in models.items() if isinstance(models, dict) else ():
        if not isinstance(info.get("weight", ""), str):
            info["weight"] = f"{name} has no public direct download{_page(name)}"
    return models


def _download_from_file(download: Any, url: str, *args: Any, **kwargs: Any) -> Any:
    if " has no public direct download" in url:
        raise import_module("click").ClickException(url)
    return download(url, *args, **kwargs)


def _page(name: str) -> str:
    """Say where the weights of a model of this package are published."""
    from uniformer_mm.checkpoints.zoo import find_model
    from uniformer_mm.errors import UserError

    try:
        page = find_model(name).weights_page
    except UserError:
        return ""
    return f": see {page}" if page else ""


PATCHES = {"mim.commands.search": patch_search, "mim.utils": patch_utils}
