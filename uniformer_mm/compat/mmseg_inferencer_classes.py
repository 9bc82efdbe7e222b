"""MMSegInferencer paints the classes of every model as those of Cityscapes.

Defect: the inferencer reads classes and colours of a checkpoint into `model.dataset_meta`, but
    gives its visualizer what its own arguments say, and by default that is Cityscapes. Of the 150
    classes of ADE20K the first 19 are painted under wrong names, the others not at all.
Versions: mmseg 1.2.2.
Shows as: pictures without most of the segments.
Repair: what the checkpoint says is the default.
Upstream: https://github.com/open-mmlab/mmsegmentation/pull/2658
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from uniformer_mm.compat.after_import import repair_after_import


def apply() -> None:
    """Repair the inferencer as soon as it is imported."""
    repair_after_import("mmseg.apis.mmseg_inferencer", repair)


def is_active() -> bool:
    """Whether mmseg is installed: every version that we take has the defect."""
    return find_spec("mmseg") is not None


def repair(module: ModuleType) -> None:
    """Let MMSegInferencer's visualizer start from the model's `dataset_meta`."""
    inferencer = module.MMSegInferencer
    make_visualizer = inferencer._init_visualizer
    if hasattr(make_visualizer, "__wrapped__"):
        return

    @functools.wraps(make_visualizer)
    def make_informed_visualizer(self: Any, cfg: Any) -> Any:
        visualizer = make_visualizer(self, cfg)
        meta = getattr(self.model, "dataset_meta", None) or {}
        if visualizer is not None and meta.get("classes") and meta.get("palette"):
            visualizer.set_dataset_meta = functools.partial(_set_dataset_meta, visualizer, meta)
        return visualizer

    inferencer._init_visualizer = make_informed_visualizer


def _set_dataset_meta(
    visualizer: Any,
    default: Mapping[str, Any],
    classes: Any = None,
    palette: Any = None,
    dataset_name: str | None = None,
) -> None:
    """SegLocalVisualizer.set_dataset_meta with another default than Cityscapes."""
    if classes is None and palette is None and dataset_name is None:
        classes, palette = default["classes"], default["palette"]
    type(visualizer).set_dataset_meta(visualizer, classes, palette, dataset_name)
