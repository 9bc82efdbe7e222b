"""`mim download` fails on models without weights.

Defect: it splits the URL of the weights, which is a missing value of pandas where a model has none.
Versions: openmim <= 0.3.9.
Shows as: `AttributeError: 'float' object has no attribute 'split'`, after a traceback.
Repair: an error that says so, and where the authors publish the weights.
"""

from importlib import import_module
from types import ModuleType
from typing import Any

from uniformer_mm.compat.patching import wrap


def patch(module: ModuleType) -> None:
    """Check for weights before anything is downloaded."""
    wrap(module, "_download_configs", _download_configs)


def _download_configs(
    download: Any, package: str, configs: list[str], *args: Any, **kwargs: Any
) -> Any:
    mim, click = import_module("mim.commands.download"), import_module("click")
    models = mim.get_model_info(package, shown_fields=["weight"], to_dict=True)
    for name in configs:
        if name in models and not isinstance(models[name]["weight"], str):
            raise click.ClickException(f"{name} has no public direct download{_page(name)}")
    return download(package, configs, *args, **kwargs)


def _page(name: str) -> str:
    """Say where the weights of a model of this package are published."""
    from uniformer_mm.checkpoints.zoo import find_model
    from uniformer_mm.errors import UserError

    try:
        page = find_model(name).weights_page
    except UserError:
        return ""
    return f": see {page}" if page else ""


PATCHES = {"mim.commands.download": patch}
