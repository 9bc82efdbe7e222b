"""mmengine's EMAHook averages the wrapper of test-time augmentation instead of the model in it.

Defect: names of tensors in its average begin with `module.module.`, those of checkpoints with
    `module.`: mmpretrain's EMAHook, which loads the average for testing, loads nothing.
Versions: mmengine 0.10.7 with mmpretrain 1.2.0.
Shows as: scores of random weights, silently, under `--tta` with a checkpoint that has a moving
    average.
Repair: the hook unwraps the model, as it does for distributed training.
Upstream: https://github.com/open-mmlab/mmpretrain/pull/1204 made mmpretrain's hook load it.
"""

from types import ModuleType
from typing import Any

from uniformer_mm.compat.patching import wrap


def patch(module: ModuleType) -> None:
    """Let the hook average the model itself."""
    wrap(module.EMAHook, "before_run", _before_run)


def _before_run(before_run: Any, self: Any, runner: Any) -> None:
    from mmengine.model import BaseTTAModel

    before_run(self, runner)
    if isinstance(self.src_model, BaseTTAModel):
        self.src_model = self.src_model.module
        self.ema_model.module = self.ema_model.module.module


PATCHES = {"mmengine.hooks.ema_hook": patch}
