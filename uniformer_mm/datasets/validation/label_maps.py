"""Compare the label maps of segmentation datasets with the classes in the config."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS, TRANSFORMS, DefaultScope

from uniformer_mm.datasets.overrides import dataset_configs, evaluators
from uniformer_mm.datasets.validation.classes import dataset_classes
from uniformer_mm.datasets.validation.num_classes import type_name
from uniformer_mm.errors import UserError

LOADERS = ("LoadAnnotations", "LoadLabelMap")
"""Steps of pipelines that read label maps."""

IGNORED = 255
"""Default `ignore_index` of mmseg's heads and metrics."""

SAMPLED = 100
"""Label maps of a split that are read, evenly spaced."""

MAPS_PER_CLASS = 10
"""Label maps per class from which on an absent class is worth a warning."""

MAX_VALUES = 20
"""Values that a warning lists."""

JPEG_HINT = " JPEG compression changes labels: save label maps as PNG."


def warn_of_absent_classes(cfg: Config, splits: Sequence[str]) -> None:
    """Read some label maps and warn of classes that do not occur in them.

    Maps with 0 and 255 for two classes, `reduce_zero_label` on maps of 0 and 1, or a single class
    train without an error and learn nothing.

    Args:
        cfg: Config of mmseg.
        splits: The splits that will be read, of 'train', 'val' and 'test'.
    """
    checked: list[Mapping[str, Any]] = []
    for split, dataset in dataset_configs(cfg):
        loads = [step for step in dataset.get("pipeline") or () if type_name(step) in LOADERS]
        if split in splits and loads and dataset not in checked:
            checked.append(dataset)
            with DefaultScope.overwrite_default_scope("mmseg"):
                # mmseg's class does not need the image.
                fault = _fault(dataset, {**loads[0], "type": "LoadAnnotations"})
            if fault:
                print_log(f"{split}: {fault}", logger="current", level=logging.WARNING)


def warn_of_other_ignored_label(cfg: Config) -> None:
    """Warn if heads and metrics ignore different labels, which lowers the scores."""
    heads = [cfg.model.get(name) for name in ("decode_head", "auxiliary_head")]
    parts = [part for head in heads for part in (head if isinstance(head, list) else [head])]
    metrics = [metric for _, metric in evaluators(cfg) if type_name(metric) == "IoUMetric"]
    trained, scored = (
        sorted({part.get("ignore_index", IGNORED) for part in group if part}, key=str)
        for group in (parts, metrics)
    )
    if trained and scored and trained != scored:
        print_log(
            f"ignore_index of the heads is {trained}, that of the metrics {scored}: set"
            " decode_head.ignore_index, auxiliary_head.ignore_index, val_evaluator.ignore_index and"
            " test_evaluator.ignore_index to the label of pixels that are not labelled",
            logger="current",
            level=logging.WARNING,
        )


def _fault(config: Mapping[str, Any], step: Mapping[str, Any]) -> str:
    """Return what is likely to be wrong with the label maps of a dataset, if anything."""
    names = dataset_classes(config, "mmseg").names
    dataset = DATASETS.build({**config, "pipeline": [], "indices": None})
    samples = [dataset.get_data_info(index) for index in range(len(dataset))]
    samples = [s for s in samples if Path(s.get("seg_map_path") or "").is_file()]
    chosen = samples[:: -(-len(samples) // SAMPLED)] if samples else []
    load = TRANSFORMS.build(step)
    seen: set[int] = set()
    for sample in chosen:
        seen.update(_labels(load, sample))
        if len(names) > 1 and seen.issuperset(range(len(names))):
            return ""
    absent = [name for label, name in enumerate(names) if label not in seen]
    enough = len(samples) == len(chosen) or len(chosen) >= MAPS_PER_CLASS * len(names)
    is_fault = len(names) == 1 or (absent and (enough or 2 * len(absent) >= len(names)))
    if not chosen or not is_fault:
        return ""
    raw = TRANSFORMS.build({**step, "reduce_zero_label": False})
    unchanged = {"label_map": None, "reduce_zero_label": False}
    values = sorted({v for sample in chosen for v in _labels(raw, {**sample, **unchanged})})
    listed = ", ".join(map(str, values[:MAX_VALUES])) + (", ..." * (len(values) > MAX_VALUES))
    path = chosen[0]["seg_map_path"]
    if len(names) == 1:
        fault = f"{names[0]} is the only class, which leaves nothing to distinguish:"
        remedy = "Make the background a class of its own, also in num_classes of the heads"
    else:
        fault = f"{len(absent)} of {len(names)} classes ({', '.join(absent[:5])}) never occur:"
        remedy = f"Classes are numbered from 0 to {len(names) - 1}, other pixels are 255"
    reduced = " reduce_zero_label is on: 0 is not labelled, 1 is the first class."
    return (
        f"{fault} the {len(chosen)} of {len(samples)} label maps read in {Path(path).parent} have"
        f" the values {listed}. {remedy}.{reduced * bool(samples[0].get('reduce_zero_label'))}"
        f"{jpeg_hint(path)}"
    )


def jpeg_hint(path: str) -> str:
    """Say that JPEG files are no label maps, if a file is one."""
    return JPEG_HINT if Path(path).suffix.lower() in (".jpg", ".jpeg") else ""


def _labels(load: Any, sample: Mapping[str, Any]) -> list[int]:
    """Return the labels in a map.

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
