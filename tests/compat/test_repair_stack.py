"""All repairs together."""

import sys
import warnings
from collections.abc import Callable

import torch

from uniformer_mm.compat import repair_stack
from uniformer_mm.compat.last_resort import FINDER

HEAVY = ("mmcv", "mmdet", "mmseg", "mmpose", "mmaction", "mmpretrain", "torchvision", "cv2")


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


def test_importing_the_plugin_repairs_and_imports_nothing_heavy(
    run_python: Callable,
) -> None:
    result = run_python(
        "import sys, uniformer_mm.compat as compat; compat.repair_stack()\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
        "from uniformer_mm.compat.last_resort import FINDER\n"
        "print(sys.meta_path[-1] is FINDER)"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split("\n")[:2] == ["[]", "True"]
    assert result.stderr == ""


def test_importing_every_codebase_prints_nothing(all_codebases: dict[str, str]) -> None:
    assert all_codebases["stderr"] == ""
