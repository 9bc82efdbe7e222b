"""mmaction2's inferencer ignores the class names in a checkpoint.

Defect: unlike the other codebases, mmaction2 ignores `dataset_meta` of a checkpoint when it loads
    one for inference: class names come from `label_file` only.
Versions: mmaction2 1.2.0.
Shows as: class indices instead of names in visualizations; `model.dataset_meta` does not exist.
Repair: `model.dataset_meta` as in the other codebases, and the visualizer's names from it. A
    `label_file` still takes precedence.
"""

from types import ModuleType
from typing import Any

from uniformer_mm.compat.patching import wrap


def patch(module: ModuleType) -> None:
    """Let ActionRecogInferencer keep the `dataset_meta` of a checkpoint."""
    wrap(module.ActionRecogInferencer, "_load_weights_to_model", _load_weights)
    wrap(module.ActionRecogInferencer, "_init_visualizer", _init_visualizer)


def _load_weights(load: Any, self: Any, model: Any, checkpoint: Any, cfg: Any) -> None:
    load(self, model, checkpoint, cfg)
    meta = (checkpoint or {}).get("meta") or {}
    if meta.get("dataset_meta"):
        model.dataset_meta = meta["dataset_meta"]


def _init_visualizer(init: Any, self: Any, cfg: Any) -> Any:
    visualizer = init(self, cfg)
    meta = getattr(self.model, "dataset_meta", None)
    if visualizer is not None and meta:
        visualizer.dataset_meta = meta
    return visualizer


PATCHES = {"mmaction.apis.inferencers.actionrecog_inferencer": patch}
