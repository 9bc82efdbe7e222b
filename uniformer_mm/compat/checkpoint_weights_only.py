"""Checkpoints of mmengine are refused by `torch.load`, which now loads weights only.

Defect: mmengine calls `torch.load` without `weights_only`; its checkpoints hold, besides tensors,
    `HistoryBuffer` objects (the message hub's logs) and numpy arrays and scalars.
Versions: mmengine <= 0.10.7 with torch >= 2.6.
Shows as: `UnpicklingError: Weights only load failed ... Unsupported global: GLOBAL
    mmengine.logging.history_buffer.HistoryBuffer` on resume, `load_from` and `init_model`. The fork
    onedl-mmengine 0.10.12 then loads the file without the protection, and runs code in it.
Repair: allow-list those few classes. The protection stays on, in the fork too: anything else in a
    checkpoint is refused.
Upstream: https://github.com/open-mmlab/mmengine/issues/1655
"""

from collections.abc import Callable
from pickle import UnpicklingError
from types import ModuleType
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch.torch_version import TorchVersion

from uniformer_mm.compat.patching import wrap

HISTORY_STATISTICS = ("min", "max", "current", "mean")


def apply() -> None:
    """Allow-list the classes in mmengine's checkpoints."""
    if is_active():
        torch.serialization.add_safe_globals(_safe_globals())


def patch(module: ModuleType) -> None:
    """Let the fork load weights only."""
    if hasattr(module, "_safe_torch_load"):
        wrap(module, "_safe_torch_load", _load_weights_only)


def _load_weights_only(
    load: Any, file: Any, map_location: Any = None, weights_only: bool | None = None
) -> Any:
    return load(file, map_location, True if weights_only is None else weights_only)


def is_active() -> bool:
    """Whether torch loads weights only by default and can allow-list classes by name."""
    return TorchVersion(torch.__version__) >= "2.6"


def history_statistic(owner: object, name: str) -> Callable:
    """Stand-in for `getattr` while a checkpoint is loaded.

    A HistoryBuffer carries its statistics methods, which pickle spells `getattr(HistoryBuffer,
    'mean')`. The real `getattr` would let a checkpoint reach and call anything.

    Raises:
        UnpicklingError: For anything but the four statistics of HistoryBuffer.
    """
    if owner is not HistoryBuffer or name not in HISTORY_STATISTICS:
        raise UnpicklingError(f"checkpoint asks for attribute {name!r} of {owner!r}: refused")
    return getattr(HistoryBuffer, name)


def empty_bytes() -> bytes:
    """Stand-in for `bytes`, which pickle calls without arguments for an array without elements."""
    return b""


def _safe_globals() -> list[Callable | tuple[Callable, str]]:
    # Taken from the pickles themselves: their place in numpy differs between 1.x and 2.x.
    rebuild_array = np.empty(0).__reduce__()[0]
    rebuild_scalar = np.float64(0).__reduce__()[0]
    numeric = "?" + np.typecodes["AllInteger"] + np.typecodes["AllFloat"]
    return [
        HistoryBuffer,
        (history_statistic, "builtins.getattr"),
        (empty_bytes, "builtins.bytes"),
        np.ndarray,
        np.dtype,
        *{type(np.dtype(code)) for code in numeric},
        # numpy 1 wrote the first spelling and numpy 2 writes the second; both must load.
        *((rebuild_array, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
        *((rebuild_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    ]


PATCHES = {"mmengine.runner.checkpoint": patch}
