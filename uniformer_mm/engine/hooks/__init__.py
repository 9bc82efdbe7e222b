"""Hooks for mmengine's Runner, one concern per file.

Those that configs of any codebase may name, having ``custom_imports``, are registered here and
imported when one is built: mmengine's hooks bring OpenCV, which `import uniformer_mm` does without.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from mmengine.registry import HOOKS

MODULES = {"CompileHook": "speed", "FitCheckpointHook": "fit_checkpoint", "FuseHook": "speed"}
"""File of this package by the name of a hook."""


def _builder(name: str) -> Callable[..., Any]:
    def build(**options: Any) -> Any:
        module = import_module(f"{__name__}.{MODULES[name]}")
        return getattr(module, name)(**options)

    return build


for _name in MODULES:
    HOOKS.register_module(name=_name, module=_builder(_name))
