"""Hooks for mmengine's Runner, one concern per file.

Those that configs of any codebase may name, having ``custom_imports``, are registered here. Their
files are imported when one is built: mmengine's hooks import OpenCV, which is slow.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from mmengine.registry import HOOKS

MODULES = {
    "CompileHook": "speed",
    "DrawPredictionsHook": "draw_predictions",
    "FitCheckpointHook": "fit_checkpoint",
    "BFloat16Hook": "speed",
    "FuseHook": "speed",
}
"""File of this package by the name of a hook."""

FORMER_NAMES = ("ClassificationPicturesHook", "SegmentationPicturesHook", "VideoPicturesHook")
"""Of the DrawPredictionsHook, in configs in the working directories of earlier versions."""


def _builder(name: str) -> Callable[..., Any]:
    def build(**options: Any) -> Any:
        module = import_module(f"{__name__}.{MODULES[name]}")
        return getattr(module, name)(**options)

    return build


for _name in MODULES:
    HOOKS.register_module(name=_name, module=_builder(_name))
HOOKS.register_module(name=list(FORMER_NAMES), module=_builder("DrawPredictionsHook"))
