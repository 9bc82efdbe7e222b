"""What the outputs of a model stand for: classes, their colours, joints."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from uniformer_mm.checkpoints.sources import CheckpointError
from uniformer_mm.datasets.redirect import class_counts
from uniformer_mm.zoo import MIM

CLASS_LISTS = MIM / "configs" / "video" / "classes"
"""Actions in the order of the authors' lists, one per line, by the name of the data's folder."""

CONVERTED_BY_MMACTION = re.compile(r"uniformer-(small|base)_imagenet1k-pre_.*_kinetics400-rgb_")
"""mmaction2's files for Kinetics-400, whose classes are in alphabetical order."""


def checkpoint_meta(cfg: Config, content: Any, source: str | Path) -> dict[str, Any]:
    """The `dataset_meta` of a checkpoint, from itself or from the config that it belongs to.

    Args:
        cfg: Config of the model.
        content: The checkpoint as it was read.
        source: Its file, whose name may tell in which order the classes are.

    Raises:
        CheckpointError: The names found are not as many as the classes of the model.
    """
    own, written = dataset_meta(cfg), written_meta(content)
    if cfg.default_scope == "mmaction" and written is None:
        own.update(_published_actions(cfg, source))
    elif written and written.get("classes", own.get("classes")) != own.get("classes"):
        own = {}  # the colours are of other classes
    meta = {**own, **(written or {})}
    check_class_count(cfg, meta, source)
    return meta


def dataset_meta(cfg: Config) -> dict[str, Any]:
    """Classes, colours and joints of a config's test data, as plain data; no file is read."""
    dataset = cfg.test_dataloader.dataset
    while "dataset" in dataset:
        dataset = dataset.dataset
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        built = DATASETS.build({**dataset, "lazy_init": True, "pipeline": []})
    return dict(built.metainfo)


def written_meta(content: Any) -> dict[str, Any] | None:
    """What training code wrote about the data into a checkpoint; None if it wrote nothing.

    It is empty where a training knew no names. MM 1.x wrote in capitals.
    """
    meta = content.get("meta") if isinstance(content, Mapping) else None
    if not isinstance(meta, Mapping):
        return None
    if "dataset_meta" in meta:
        return dict(meta["dataset_meta"] or {})
    found = {key.lower(): meta[key] for key in ("CLASSES", "PALETTE") if meta.get(key)}
    return found or None


def _published_actions(cfg: Config, source: str | Path) -> dict[str, Any]:
    """mmaction2 has no names of classes: those of the authors' lists."""
    root = cfg.test_dataloader.dataset.get("data_root") or ""
    path = CLASS_LISTS / f"{Path(root).name}.txt"
    if not path.is_file():
        return {}
    classes = path.read_text(encoding="utf-8").splitlines()
    if CONVERTED_BY_MMACTION.match(Path(source).name):
        classes.sort()
    return {"classes": tuple(classes)}


def check_class_count(cfg: Config, meta: Mapping[str, Any], source: str | Path) -> None:
    """Look whether the names of classes are as many as the classes of the model.

    Args:
        cfg: Config of the model.
        meta: Has the names.
        source: From where, for the error.

    Raises:
        CheckpointError: They are not.
    """
    counts, classes = set(class_counts(cfg.model)), meta.get("classes")
    if classes and counts and len(classes) not in counts:
        raise CheckpointError(
            f"{source}: the names of {len(classes)} classes are known, but the model has"
            f" {', '.join(map(str, sorted(counts)))}: name its own with --cfg-options"
            " \"test_dataloader.dataset.metainfo.classes=('cat','dog')\""
        )
