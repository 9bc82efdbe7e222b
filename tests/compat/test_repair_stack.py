"""All repairs together."""

import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from uniformer_mm.compat import REPAIRS, repair_stack
from uniformer_mm.compat.supplying import FINDER


def test_second_call_changes_nothing() -> None:
    repair_stack()
    finders = list(sys.meta_path)
    allowed = set(torch.serialization.get_safe_globals())
    filters = list(warnings.filters)
    repair_stack()
    assert sys.meta_path == finders
    assert finders.count(FINDER) == 1
    assert set(torch.serialization.get_safe_globals()) == allowed
    assert warnings.filters == filters


@pytest.mark.slow
def test_importing_the_plugin_repairs_and_imports_nothing_heavy(
    all_codebases: dict[str, Any],
) -> None:
    assert all_codebases["heavy"] == []
    assert all_codebases["last_finder"]


@pytest.mark.slow
def test_importing_every_codebase_prints_nothing(all_codebases: dict[str, Any]) -> None:
    assert all_codebases["stderr"] == ""


@pytest.mark.slow
def test_the_stack_can_be_left_as_it_is(run_python: Callable) -> None:
    result = run_python(
        "import os, sys, warnings; os.environ['UNIFORMER_MM_NO_PATCH'] = '1'\n"
        "import torch, mmengine.runner, mmengine.utils.dl_utils as utils\n"
        "filters, finders = list(warnings.filters), list(sys.meta_path)\n"
        "load, safe = utils.load_url, torch.serialization.get_safe_globals()\n"
        "import uniformer_mm\n"
        "print(warnings.filters == filters, sys.meta_path == finders, utils.load_url is load,\n"
        "    torch.serialization.get_safe_globals() == safe)"
    )
    assert result.stdout.split() == ["True"] * 4, result.stderr


def test_the_docs_list_every_repair() -> None:
    page = (Path(__file__).parents[2] / "docs" / "stack.md").read_text()
    names = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert sorted(names) == sorted(repair.__name__.rpartition(".")[2] for repair in REPAIRS)
