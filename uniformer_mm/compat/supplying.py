"""Import finder that supplies a module only where no other finder has found it."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

STAND_INS = Path(__file__).parent / "stand_ins"


class LastResortFinder(MetaPathFinder):
    """Find a missing module in a source file of `stand_ins`.

    It stands last in `sys.meta_path`, so an installed module always wins. Its specs are those of
    ordinary source files: probes such as `pkgutil.find_loader`, `importlib.reload` and tracebacks
    work as usual, and `spec.origin` tells a stand-in from the real thing.
    """

    def __init__(self) -> None:
        """Start with nothing to supply."""
        self.files: dict[str, Path] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Spec of the stand-in for `fullname`, None where there is none."""
        file = self.files.get(fullname)
        return spec_from_file_location(fullname, file) if file else None


FINDER = LastResortFinder()


def supplies(module: str) -> bool:
    """Whether a module comes from `stand_ins`. Its parent packages are imported."""
    try:
        spec = find_spec(module)
    except Exception:  # a parent package is missing or fails to import
        return False
    return spec is not None and STAND_INS in Path(spec.origin or "").parents


def supply(module: str, stand_in: str) -> None:
    """Let `import <module>` fall back to a file of `stand_ins`.

    Args:
        module: Full name of the module that may be missing.
        stand_in: Path of the source file inside `stand_ins`, `<folder>/__init__.py` for a package.
    """
    FINDER.files[module] = STAND_INS / stand_in
    if FINDER not in sys.meta_path:
        sys.meta_path.append(FINDER)
