"""`mmseg::` bases are not found where mmseg is installed by its fork.

Defect: mmengine looks for the configs of `mmseg` in the distribution `mmsegmentation` only. The
    maintained fork is the distribution `onedl-mmsegmentation`.
Versions: mmengine <= 0.10.7 and onedl-mmengine <= 0.10.12 with onedl-mmsegmentation.
Shows as: `_base_ = "mmseg::..."` says that mmsegmentation is not installed.
Repair: where there is no such distribution, mmengine looks for the import name.
Upstream: https://github.com/open-mmlab/mmengine/blob/v0.10.7/mmengine/config/utils.py
"""

from importlib.util import find_spec
from types import ModuleType

from uniformer_mm.compat.distributions import owners


def is_active() -> bool:
    """Whether mmseg is installed by another distribution than mmsegmentation."""
    return find_spec("mmseg") is not None and "mmsegmentation" not in owners("mmseg")


def patch(module: ModuleType) -> None:
    """Let mmengine find mmseg by its import name."""
    if is_active():
        module.MODULE2PACKAGE["mmseg"] = "mmseg"


PATCHES = {"mmengine.config.utils": patch}
