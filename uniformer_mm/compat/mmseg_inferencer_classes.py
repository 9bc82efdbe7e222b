"""MMSegInferencer visualizes every model with the classes of Cityscapes.

Defect: the inferencer reads classes and palette of a checkpoint into `model.dataset_meta`, but
    passes its own arguments to the visualizer, whose default is Cityscapes. Of the 150 classes of
    ADE20K, the first 19 are drawn with wrong names, the others not at all.
Versions: mmseg 1.2.2.
Shows as: visualizations without most of the segments.
Repair: `dataset_meta` of the checkpoint is the default.
Upstream: https://github.com/open-mmlab/mmsegmentation/pull/2658
"""

import functools
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from uniformer_mm.compat.patching import wrap


def patch(module: ModuleType) -> None:
    """Let MMSegInferencer's visualizer start from the model's `dataset_meta`."""
    wrap(module.MMSegInferencer, "_init_visualizer", _init_visualizer)


def _init_visualizer(init: Any, self: Any, cfg: Any) -> Any:
    visualizer = init(self, cfg)
    meta = getattr(self.model, "dataset_meta", None) or {}
    if visualizer is not None and meta.get("classes") and meta.get("palette"):
        visualizer.set_dataset_meta = functools.partial(_set_dataset_meta, visualizer, meta)
    return visualizer


def _set_dataset_meta(
    visualizer: Any,
    default: Mapping[str, Any],
    classes: Any = None,
    palette: Any = None,
    dataset_name: str | None = None,
) -> None:
    """`SegLocalVisualizer.set_dataset_meta` with another default than Cityscapes."""
    if classes is None and palette is None and dataset_name is None:
        classes, palette = default["classes"], default["palette"]
    type(visualizer).set_dataset_meta(visualizer, classes, palette, dataset_name)


PATCHES = {"mmseg.apis.mmseg_inferencer": patch}
