"""Patch modules of the stack when they are imported."""

import functools
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

Patch = Callable[[ModuleType], None]
Context = Callable[[], AbstractContextManager[None]]


class PatchingFinder(MetaPathFinder):
    """Finds a module as Python does; patches it once it has been executed in its context."""

    def __init__(self) -> None:
        """Start with nothing to patch."""
        self.patches: dict[str, list[Patch]] = {}
        self.contexts: dict[str, Context] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Spec of a module that has patches or a context, None for all others."""
        patches, context = self.patches.get(fullname, []), self.contexts.get(fullname, nullcontext)
        if not patches and context is nullcontext:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_patch(module: ModuleType) -> None:
            with context():
                execute(module)
            for patch in patches:
                patch(module)

        spec.loader.exec_module = execute_and_patch  # type: ignore[method-assign]
        return spec


FINDER = PatchingFinder()


def patch_after_import(module: str, patch: Patch) -> None:
    """Patch a module now if it has been imported, else once it is.

    Args:
        module: Full name.
        patch: Called with the module; a second call must change nothing.
    """
    if module in sys.modules:
        patch(sys.modules[module])
        return
    patches = FINDER.patches.setdefault(module, [])
    if patch not in patches:
        patches.append(patch)
    _install()


def import_in_context(module: str, context: Context) -> None:
    """Execute a module in a context, if it has not been imported yet.

    Args:
        module: Full name.
        context: Returns the context manager.
    """
    FINDER.contexts[module] = context
    _install()


def _install() -> None:
    if FINDER not in sys.meta_path:
        sys.meta_path.insert(0, FINDER)


def wrap(owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Replace a function of a module or class by one that calls `wrapper`, once per wrapper.

    Args:
        owner: Module or class.
        name: Name of the function.
        wrapper: Takes the original function and then its arguments.
    """
    original = function = getattr(owner, name)
    while function is not None:
        if getattr(function, "wrapped_by", None) is wrapper:
            return
        function = getattr(function, "__wrapped__", None)

    @functools.wraps(original, updated=())
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return wrapper(original, *args, **kwargs)

    wrapped.wrapped_by = wrapper  # type: ignore[attr-defined]
    is_static = isinstance(vars(owner).get(name), staticmethod)
    setattr(owner, name, staticmethod(wrapped) if is_static else wrapped)
