"""The finder supplies missing modules and nothing else."""

import importlib
import importlib.machinery
import inspect
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from uniformer_mm.compat import supplying

NAME = "module_that_nobody_installs"


@pytest.fixture
def supplied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Name of a module that only the finder knows."""
    (tmp_path / "stand_in.py").write_text("kind = 'stand-in'\n")
    monkeypatch.setattr(supplying, "STAND_INS", tmp_path)
    monkeypatch.setattr(supplying.FINDER, "files", {})
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    assert find_spec(NAME) is None
    supplying.supply(NAME, "stand_in.py")
    yield NAME
    sys.modules.pop(NAME, None)


def test_missing_module_is_supplied_with_a_real_spec(supplied: str, tmp_path: Path) -> None:
    module = importlib.import_module(supplied)
    assert module.kind == "stand-in"
    assert find_spec(supplied).origin == str(tmp_path / "stand_in.py")
    assert inspect.getsource(module) == "kind = 'stand-in'\n"


def test_stand_in_can_be_reloaded(supplied: str) -> None:
    module = importlib.import_module(supplied)
    module.kind = "changed"
    assert importlib.reload(module).kind == "stand-in"


def test_installed_module_wins(
    supplied: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / f"{supplied}.py").write_text("kind = 'installed'\n")
    monkeypatch.syspath_prepend(installed)
    assert importlib.import_module(supplied).kind == "installed"


def test_other_missing_modules_stay_missing(supplied: str) -> None:
    assert find_spec(supplied + "_2") is None


def test_finder_is_added_once_and_last(supplied: str) -> None:
    supplying.supply(supplied, "stand_in.py")
    assert sys.meta_path.count(supplying.FINDER) == 1
    ordinary = sys.meta_path.index(importlib.machinery.PathFinder)
    assert sys.meta_path.index(supplying.FINDER) > ordinary
