"""mmaction2's inferencer does not know the classes that a checkpoint names.

Defect: of all codebases, mmaction2 alone ignores `dataset_meta` of a checkpoint when it loads one
    for inference: names come from `label_file` or not at all.
Versions: mmaction2 1.2.0.
Shows as: numbers instead of names in painted videos; `model.dataset_meta` does not exist.
Repair: `model.dataset_meta` as in the other codebases, and the visualizer's names from it. A
    `label_file` still has the last word.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from uniformer_mm.compat.after_import import repair_after_import


def apply() -> None:
    """Repair the inferencer as soon as it is imported."""
    repair_after_import("mmaction.apis.inferencers.actionrecog_inferencer", repair)


def is_active() -> bool:
    """Whether mmaction is installed: every version that we take has the defect."""
    return find_spec("mmaction") is not None


def repair(module: ModuleType) -> None:
    """Let ActionRecogInferencer keep the `dataset_meta` of a checkpoint."""
    inferencer = module.ActionRecogInferencer
    load_weights, make_visualizer = inferencer._load_weights_to_model, inferencer._init_visualizer
    if hasattr(load_weights, "__wrapped__"):
        return

    @functools.wraps(load_weights)
    def load_weights_and_names(self: Any, model: Any, checkpoint: Any, cfg: Any) -> None:
        load_weights(self, model, checkpoint, cfg)
        meta = (checkpoint or {}).get("meta") or {}
        if meta.get("dataset_meta"):
            model.dataset_meta = meta["dataset_meta"]

    @functools.wraps(make_visualizer)
    def make_informed_visualizer(self: Any, cfg: Any) -> Any:
        visualizer = make_visualizer(self, cfg)
        meta = getattr(self.model, "dataset_meta", None)
        if visualizer is not None and meta:
            visualizer.dataset_meta = meta
        return visualizer

    inferencer._load_weights_to_model = load_weights_and_names
    inferencer._init_visualizer = make_informed_visualizer
