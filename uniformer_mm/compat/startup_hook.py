"""Repair the stack in every program once it imports a package of OpenMMLab.

`uniformer_mm.compat.everywhere` copies this file to site-packages, with a `.pth` file that imports
it whenever Python starts. It imports nothing of `uniformer_mm` before it is needed.
"""

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec

PACKAGES = ("mmengine", "mmcv", "mmdet", "mmseg", "mmpose", "mmaction", "mmpretrain", "mim")


class RepairingFinder:
    """Imports `uniformer_mm` when one of `PACKAGES` is imported for the first time."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Find nothing by itself: repair the stack and search again."""
        if name not in PACKAGES or "uniformer_mm" in sys.modules:
            return None
        sys.meta_path.remove(self)
        try:
            import_module("uniformer_mm")
        except ImportError:  # not installed any more, or without mmengine
            return None
        # Its finders were not there when the search began.
        return sys.modules[name].__spec__ if name in sys.modules else find_spec(name)


def install() -> None:
    """Watch imports."""
    if not any(type(finder).__name__ == RepairingFinder.__name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, RepairingFinder())
