"""A module is patched once, when it is imported."""

import importlib
import sys

import pytest

from uniformer_mm.compat import patching
from uniformer_mm.compat.patching import PatchingFinder, patch_after_import, wrap


@pytest.fixture
def finder(tmp_path, monkeypatch):
    """A finder of its own, and a package on the path."""
    finder = PatchingFinder()
    monkeypatch.setattr(patching, "FINDER", finder)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "faulty_package").mkdir()
    (tmp_path / "faulty_package" / "__init__.py").write_text("")
    (tmp_path / "faulty_package" / "part.py").write_text("answer = 41\n")
    return finder


def repair(module):
    module.answer += 1


def test_a_module_is_patched_when_it_is_imported(finder):
    patch_after_import("faulty_package.part", repair)
    assert "faulty_package" not in sys.modules
    part = importlib.import_module("faulty_package.part")
    assert part.answer == 42
    assert importlib.import_module("faulty_package.part").answer == 42
    assert part.__spec__.origin == part.__file__


def test_a_module_may_have_several_patches(finder):
    def repair_more(module):
        module.answer *= 2

    for action in (repair, repair_more, repair):
        patch_after_import("faulty_package.part", action)
    assert importlib.import_module("faulty_package.part").answer == 84


def test_an_imported_module_is_patched_now(finder):
    part = importlib.import_module("faulty_package.part")
    patch_after_import("faulty_package.part", repair)
    assert part.answer == 42
    assert finder not in sys.meta_path


def test_a_missing_module_stays_missing(finder):
    patch_after_import("faulty_package.absent", repair)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("faulty_package.absent")


def test_a_function_is_wrapped_once_by_each_wrapper():
    class Owner:
        @staticmethod
        def double(number):
            return 2 * number

    def plus_one(original, number):
        return original(number) + 1

    def plus_ten(original, number):
        return original(number) + 10

    for wrapper in (plus_one, plus_ten, plus_one, plus_ten):
        wrap(Owner, "double", wrapper)
    assert Owner.double(3) == Owner().double(3) == 17
