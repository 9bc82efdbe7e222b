"""mmengine's EMAHook averages the wrapper of test-time augmentation instead of the model in it.

Defect: names of tensors in its average begin with `module.module.`, those of checkpoints with
    `module.`: mmpretrain's EMAHook, which loads the average for testing, loads nothing.
Versions: mmengine 0.10.7 with mmpretrain 1.2.0.
Shows as: scores of random weights, silently, under `--tta` with a checkpoint that has a moving
    average.
Repair: the hook looks through the wrapper, as it does through those of distributed training.
Upstream: https://github.com/open-mmlab/mmpretrain/pull/1204 made mmpretrain's hook load it.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from uniformer_mm.compat.after_import import repair_after_import

HOOK = "mmengine.hooks.ema_hook"


def apply() -> None:
    """Repair the hook as soon as it is imported."""
    repair_after_import(HOOK, repair)


def is_active() -> bool:
    """Whether mmengine has the hook: every version that we take has the defect."""
    return find_spec(HOOK) is not None


def repair(module: ModuleType) -> None:
    """Let the hook average the model itself."""
    before_run = module.EMAHook.before_run
    if hasattr(before_run, "__wrapped__"):
        return

    @functools.wraps(before_run)
    def before_run_of_the_model_itself(self: Any, runner: Any) -> None:
        from mmengine.model import BaseTTAModel

        before_run(self, runner)
        if isinstance(self.src_model, BaseTTAModel):
            self.src_model = self.src_model.module
            self.ema_model.module = self.ema_model.module.module

    module.EMAHook.before_run = before_run_of_the_model_itself
