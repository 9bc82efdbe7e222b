"""mmengine logs warnings about its own code and mmseg's, which users cannot act on.

Defect: CheckpointHook uses the deprecated `FileClient`, and mmseg's metric has no prefix by design.
Versions: mmengine <= 0.10.7, mmseg 1.2.2.
Shows as: `"FileClient" will be deprecated in future`, `"HardDiskBackend" is the alias of
    "LocalBackend"` and `The prefix is not set in metric class IoUMetric` at the start of a run.
Repair: these modules do not log these messages.
Upstream: https://github.com/open-mmlab/mmengine/blob/v0.10.7/mmengine/hooks/checkpoint_hook.py#L273
"""

from types import ModuleType
from typing import Any

from uniformer_mm.compat.patching import wrap

MODULES = ("mmengine.fileio.file_client", "mmengine.evaluator.metric")

MESSAGES = (
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias of "LocalBackend"',
    "The prefix is not set in metric class IoUMetric",
)
"""Starts of the messages."""


def patch(module: ModuleType) -> None:
    """Let the module log all but these messages."""
    wrap(module, "print_log", _print_log)


def _print_log(print_log: Any, message: Any, *args: Any, **kwargs: Any) -> None:
    if not str(message).startswith(MESSAGES):
        print_log(message, *args, **kwargs)


PATCHES = dict.fromkeys(MODULES, patch)
