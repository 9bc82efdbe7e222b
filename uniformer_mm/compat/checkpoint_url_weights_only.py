"""Checkpoints from a URL are unpickled without torch's protection.

Defect: mmengine reads `http(s)://` checkpoints through `torch.hub.load_state_dict_from_url`, whose
    `weights_only` is False by default even where that of `torch.load` is True. A checkpoint from
    the network can run code, while the same file on disk cannot.
Versions: mmengine <= 0.10.7 with every torch so far (seen with 2.13).
Shows as: nothing.
Repair: mmengine's `load_url` loads weights only, unless `weights_only` is passed.
"""

from types import ModuleType
from typing import Any

from uniformer_mm.compat.patching import wrap


def patch(module: ModuleType) -> None:
    """Let `load_url` load weights only."""
    wrap(module, "load_url", _load_url)


def _load_url(load: Any, *args: Any, weights_only: bool = True, **kwargs: Any) -> Any:
    return load(*args, weights_only=weights_only, **kwargs)


# The second module has a reference of its own to the function of the first.
PATCHES = {"mmengine.utils.dl_utils": patch, "mmengine.runner.checkpoint": patch}
