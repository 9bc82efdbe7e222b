"""A config that is stored in a checkpoint is executed when training is resumed.

Defect: `Runner.resume` and `FlexibleRunner.resume` hand `meta["config"]` of a checkpoint, text that
    mmcv 1.x wrote and that may be any Python, to `Config.fromstring`, for a number of GPUs.
Versions: mmengine <= 0.10.7.
Shows as: nothing.
Repair: mmengine's checkpoint loader leaves this entry out. `meta["cfg"]`, which mmengine writes, is
    never executed while resuming.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from uniformer_mm.compat.after_import import repair_after_import

LOADER = "mmengine.runner.checkpoint"


def apply() -> None:
    """Repair the loader as soon as it is imported."""
    repair_after_import(LOADER, repair)


def is_active() -> bool:
    """Every version that we take has the defect."""
    return True


def repair(module: ModuleType) -> None:
    """Let `CheckpointLoader.load_checkpoint` return a checkpoint without a config of mmcv 1.x."""
    loader = module.CheckpointLoader
    load = loader.load_checkpoint
    if hasattr(load, "__wrapped__"):
        return

    @functools.wraps(load)
    def load_checkpoint(*arguments: Any, **options: Any) -> Any:
        checkpoint = load(*arguments, **options)
        if isinstance(checkpoint, dict) and isinstance(checkpoint.get("meta"), dict):
            checkpoint["meta"].pop("config", None)
        return checkpoint

    loader.load_checkpoint = staticmethod(load_checkpoint)
