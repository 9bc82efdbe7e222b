"""Checkpoints from a URL are unpickled without torch's protection.

Defect: mmengine reads `http(s)://` checkpoints through `torch.hub.load_state_dict_from_url`, whose
    `weights_only` is False by default even where that of `torch.load` is True. A checkpoint from
    the network can run code, while the same file on disk cannot.
Versions: mmengine <= 0.10.7 with every torch so far (seen with 2.13).
Shows as: nothing.
Repair: mmengine's `load_url` loads weights only, unless its caller says otherwise.
"""

from __future__ import annotations

import functools
import sys

from mmengine.utils import dl_utils


def apply() -> None:
    """Make mmengine's reader of URLs load weights only."""
    if is_active():
        return
    dl_utils.load_url = functools.partial(dl_utils.load_url, weights_only=True)
    # Who imported the function before us has a reference of its own.
    reader = sys.modules.get("mmengine.runner.checkpoint")
    if reader is not None:
        reader.load_url = dl_utils.load_url  # type: ignore[attr-defined]


def is_active() -> bool:
    """Whether mmengine's reader of URLs is ours."""
    return isinstance(dl_utils.load_url, functools.partial)
