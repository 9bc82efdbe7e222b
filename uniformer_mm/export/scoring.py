"""Scores of a model on the test data of its config, as it is and with changes."""

import argparse
import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from uniformer_mm.apis.config import prepare_config
from uniformer_mm.apis.launch import build_runner
from uniformer_mm.tasks import task_of

Change = Callable[[Any], Any]
"""From a copy of a model to the model that is tested."""


def score(
    config: str | Path,
    checkpoint: str,
    changes: Mapping[str, Change],
    cfg_options: dict[str, Any] | None = None,
) -> dict[str, dict[str, float]]:
    """Test a model once per change.

    Args:
        config: Its config, whose test data are used.
        checkpoint: Its weights.
        changes: By name.
        cfg_options: Settings to override.

    Returns:
        The scores that are published for models of this task, in their unit, by name of the change.

    Raises:
        UserError: The test data are missing, or have a fault.
        CheckpointError: The weights cannot be loaded, or do not fit.
    """
    options = argparse.Namespace(
        config=str(config), checkpoint=checkpoint, cfg_options=cfg_options, work_dir=None
    )
    with TemporaryDirectory() as folder:
        options.work_dir = folder
        cfg = prepare_config(options, splits=("test",))
        cfg.log_level = "ERROR"
        runner = build_runner(Config(cfg.to_dict()), exact_checkpoint=True)
        hook = _ChangeHook()
        runner.register_hook(hook, "LOW")
        results = {}
        for name, change in changes.items():
            hook.change = change
            scores = runner.test()
            results[name] = {
                shown: float(scores[key]) * factor
                for shown, (key, factor) in task_of(cfg).published_scores.items()
                if key in scores
            }
    return results


class _ChangeHook(Hook):
    """Replaces a model by a changed copy while it is tested."""

    change: Change

    def before_test(self, runner: Runner) -> None:
        self._model = runner.model
        runner.model = self.change(copy.deepcopy(runner.model))

    def after_test(self, runner: Runner) -> None:
        runner.model = self._model
