"""mmengine warns that its own hook uses a deprecated class of mmengine.

Defect: CheckpointHook calls `FileClient.infer_client`, which logs two deprecation warnings.
Versions: mmengine <= 0.10.7.
Shows as: `"FileClient" will be deprecated in future` and `"HardDiskBackend" is the alias of
    "LocalBackend"` at the start of every training.
Repair: the module logs no such messages.
Upstream: https://github.com/open-mmlab/mmengine/blob/v0.10.7/mmengine/hooks/checkpoint_hook.py#L273
"""

from types import ModuleType
from typing import Any

from uniformer_mm.compat.patching import wrap


def patch(module: ModuleType) -> None:
    """Let the module log all but deprecations."""
    wrap(module, "print_log", _print_log)


def _print_log(print_log: Any, message: str, *args: Any, **kwargs: Any) -> None:
    if "will be deprecated in future" not in message:
        print_log(message, *args, **kwargs)


PATCHES = {"mmengine.fileio.file_client": patch}
