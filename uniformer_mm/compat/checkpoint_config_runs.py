"""The config in a checkpoint is executed when training is resumed.

Defect: `Runner.resume` and `FlexibleRunner.resume` pass `meta["config"]` of a checkpoint, text that
    mmcv 1.x wrote and that may be any Python code, to `Config.fromstring` to read the number of
    GPUs.
Versions: mmengine <= 0.10.7.
Shows as: nothing.
Repair: mmengine's checkpoint loader drops this entry. `meta["cfg"]`, which mmengine writes, is
    never executed while resuming.
"""

from types import ModuleType
from typing import Any

from uniformer_mm.compat.patching import wrap


def patch(module: ModuleType) -> None:
    """Let `CheckpointLoader.load_checkpoint` drop the config of mmcv 1.x."""
    wrap(module.CheckpointLoader, "load_checkpoint", _load_checkpoint)


def _load_checkpoint(load: Any, *args: Any, **kwargs: Any) -> Any:
    checkpoint = load(*args, **kwargs)
    if isinstance(checkpoint, dict) and isinstance(checkpoint.get("meta"), dict):
        checkpoint["meta"].pop("config", None)
    return checkpoint


PATCHES = {"mmengine.runner.checkpoint": patch}
