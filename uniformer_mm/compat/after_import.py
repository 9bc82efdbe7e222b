"""Repairs of modules that are imported later, or never."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

Repair = Callable[[ModuleType], None]


class RepairingFinder(MetaPathFinder):
    """Finds a module as Python does, and has it repaired once it has been executed."""

    def __init__(self) -> None:
        """Start with nothing to repair."""
        self.repairs: dict[str, list[Repair]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Spec of a module that waits for its repair, None for all others."""
        repairs = self.repairs.get(fullname, [])
        spec = PathFinder.find_spec(fullname, path, target) if repairs else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_repair(module: ModuleType) -> None:
            execute(module)
            for repair in repairs:
                repair(module)

        spec.loader.exec_module = execute_and_repair  # type: ignore[method-assign]
        return spec


FINDER = RepairingFinder()


def repair_after_import(module: str, repair: Repair) -> None:
    """Repair a module: now if it has been imported, or as soon as it is.

    Args:
        module: Full name.
        repair: Is called with the module; a second call must change nothing.
    """
    if module in sys.modules:
        repair(sys.modules[module])
        return
    repairs = FINDER.repairs.setdefault(module, [])
    if repair not in repairs:
        repairs.append(repair)
    if FINDER not in sys.meta_path:
        sys.meta_path.insert(0, FINDER)
