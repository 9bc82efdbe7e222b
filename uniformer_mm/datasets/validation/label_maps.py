"""Whether the label maps of segmentation hold the classes that a config expects."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS, TRANSFORMS, DefaultScope

from uniformer_mm.datasets.overrides import dataset_configs, evaluators
from uniformer_mm.datasets.validation.class_checks import dataset_counts
from uniformer_mm.datasets.validation.class_counts import type_name
from uniformer_mm.errors import UserError

LOADERS = ("LoadAnnotations", "LoadLabelMap")
"""Steps of pipelines that read label maps."""

IGNORED = 255
"""`ignore_index` of mmseg's heads and scores by default."""

LOOKED_AT = 100
"""Label maps of a split that are read, evenly spaced."""

MAPS_PER_CLASS = 10
"""So many maps per class without one of its pixels are worth a warning."""

MOST_VALUES = 20
"""Values that a warning lists."""


def warn_of_absent_classes(cfg: Config, splits: Sequence[str]) -> None:
    """Look into label maps, and warn of classes that do not occur in them.

    A map with 0 and 255 for two classes, `reduce_zero_label` on maps of 0 and 1, or a single class
    train without an error, and learn nothing.

    Args:
        cfg: Of mmseg.
        splits: Of 'train', 'val' and 'test' those whose data will be read.
    """
    looked_at: list[Mapping[str, Any]] = []
    for split, dataset in dataset_configs(cfg):
        loads = [step for step in dataset.get("pipeline") or () if type_name(step) in LOADERS]
        if split in splits and loads and dataset not in looked_at:
            looked_at.append(dataset)
            with DefaultScope.overwrite_default_scope("mmseg"):
                # The class of mmseg does not need the image.
                fault = _fault(dataset, {**loads[0], "type": "LoadAnnotations"})
            if fault:
                print_log(f"{split}: {fault}", logger="current", level=logging.WARNING)


def warn_of_other_ignored_label(cfg: Config) -> None:
    """Warn where heads and scores ignore different labels: their pixels then lower the scores."""
    heads = [cfg.model.get(name) for name in ("decode_head", "auxiliary_head")]
    parts = [part for head in heads for part in (head if isinstance(head, list) else [head])]
    trained = {part.get("ignore_index", IGNORED) for part in parts if part}
    scored = {
        m.get("ignore_index", IGNORED) for _, m in evaluators(cfg) if type_name(m) == "IoUMetric"
    }
    if trained and scored and trained != scored:
        print_log(
            f"ignore_index of the heads is {_shown(trained)}, that of the scores {_shown(scored)}:"
            " set decode_head.ignore_index, auxiliary_head.ignore_index, val_evaluator.ignore_index"
            " and test_evaluator.ignore_index to the label of pixels that are not labelled",
            logger="current",
            level=logging.WARNING,
        )


def _shown(labels: set[int]) -> str:
    return " and ".join(map(str, sorted(labels, key=str)))


def _fault(config: Mapping[str, Any], step: Mapping[str, Any]) -> str:
    """What speaks against the label maps of a dataset; empty if nothing."""
    names = dataset_counts(config, "mmseg").names
    dataset = DATASETS.build({**config, "pipeline": [], "indices": None})
    samples = [dataset.get_data_info(index) for index in range(len(dataset))]
    samples = [s for s in samples if Path(s.get("seg_map_path") or "").is_file()]
    chosen = samples[:: -(-len(samples) // LOOKED_AT)] if samples else []
    load = TRANSFORMS.build(step)
    seen: set[int] = set()
    for sample in chosen:
        seen.update(_labels(load, sample))
        if len(names) > 1 and seen.issuperset(range(len(names))):
            return ""
    absent = [name for label, name in enumerate(names) if label not in seen]
    enough = len(samples) == len(chosen) or len(chosen) >= MAPS_PER_CLASS * len(names)
    is_warned_of = len(names) == 1 or (absent and (enough or 2 * len(absent) >= len(names)))
    if not chosen or not is_warned_of:
        return ""
    raw = TRANSFORMS.build({**step, "reduce_zero_label": False})
    unchanged = {"label_map": None, "reduce_zero_label": False}
    values = sorted({v for sample in chosen for v in _labels(raw, {**sample, **unchanged})})
    listed = ", ".join(map(str, values[:MOST_VALUES])) + (", ..." * (len(values) > MOST_VALUES))
    folder = Path(chosen[0]["seg_map_path"]).parent
    if len(names) == 1:
        fault = f"there is one class, {names[0]}, from which nothing can be told apart:"
        remedy = "Make the background a class of its own, also in num_classes of the heads"
    else:
        fault = f"{len(absent)} of {len(names)} classes ({', '.join(absent[:5])}) never occur:"
        remedy = f"Classes are numbered from 0 to {len(names) - 1}, other pixels are 255"
    reduced = " reduce_zero_label is on: 0 is not labelled, 1 is the first class."
    jpeg = " JPEG changes labels when it compresses: save label maps as PNG."
    return (
        f"{fault} the {len(chosen)} of {len(samples)} label maps looked at in {folder} hold the"
        f" values {listed}. {remedy}.{reduced * bool(samples[0].get('reduce_zero_label'))}"
        f"{jpeg * (Path(chosen[0]['seg_map_path']).suffix.lower() in ('.jpg', '.jpeg'))}"
    )


def _labels(load: Any, sample: Mapping[str, Any]) -> list[int]:
    """The labels in a map.

    Raises:
        UserError: It cannot be read.
    """
    try:
        return np.unique(load(dict(sample, seg_fields=[]))["gt_seg_map"]).tolist()
    except OSError as error:
        raise UserError(
            f"{sample['seg_map_path']} cannot be read: it is truncated, or not an image."
            " Replace the file, or take it out of the data"
        ) from error
