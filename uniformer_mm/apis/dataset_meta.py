"""What the outputs of a model stand for: classes, their colours, joints."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS, DefaultScope

from uniformer_mm.checkpoints.published import published_facts
from uniformer_mm.checkpoints.zoo import MIM
from uniformer_mm.datasets.validation.num_classes import class_counts
from uniformer_mm.errors import CheckpointError, printable

CLASS_LISTS = MIM / "configs" / "video" / "classes"
"""Actions in the order of the authors' lists, one per line, by the name of the data's folder."""


def checkpoint_meta(cfg: Config, content: Any, source: str | Path) -> dict[str, Any]:
    """The `dataset_meta` of a checkpoint, from itself or from the config that it belongs to.

    Args:
        cfg: Config of the model.
        content: The checkpoint as it was read.
        source: Its file, whose hash may tell in which order the classes are.

    Raises:
        CheckpointError: The names found are not names, or not as many as the classes of the model.
    """
    own, written = dataset_meta(cfg), written_meta(content, source)
    if cfg.default_scope == "mmaction" and written is None:
        own.update(_published_actions(cfg, content, source))
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


def written_meta(content: Any, source: str | Path) -> dict[str, Any] | None:
    """What training code wrote about the data into a checkpoint; None if it wrote nothing.

    It is empty where a training knew no names. MM 1.x wrote in capitals. Characters that could
    steer a terminal are replaced in the names of classes.

    Raises:
        CheckpointError: The names of classes are not a sequence of strings.
    """
    meta = content.get("meta") if isinstance(content, Mapping) else None
    if not isinstance(meta, Mapping):
        return None
    if "dataset_meta" in meta:
        written, name = meta["dataset_meta"] or {}, "meta.dataset_meta"
    else:
        written = {key.lower(): meta[key] for key in ("CLASSES", "PALETTE") if meta.get(key)}
        name = "meta"
        if not written:
            return None
    if not isinstance(written, Mapping):
        raise CheckpointError(f"{source}: {name} must be a dict, got {printable(repr(written))}")
    classes = written.get("classes")
    if classes is None:
        return dict(written)
    if not isinstance(classes, list | tuple) or not all(isinstance(each, str) for each in classes):
        raise CheckpointError(
            f"{source}: {name}.classes must be a list of the names of classes, got"
            f" {printable(repr(classes))}"
        )
    return {**written, "classes": type(classes)(map(printable, classes))}


def _published_actions(cfg: Config, content: Any, source: str | Path) -> dict[str, Any]:
    """mmaction2 has no names of classes: those of the authors' lists."""
    root = cfg.test_dataloader.dataset.get("data_root") or ""
    path = CLASS_LISTS / f"{Path(root).name}.txt"
    if not path.is_file():
        return {}
    classes = path.read_text(encoding="utf-8").splitlines()
    facts = published_facts(Path(source))
    if facts and facts.alphabetical:
        classes.sort()
    elif content is not None and not facts:
        print_log(
            f"{printable(str(source))} does not name its classes and is not a published file with a"
            f" known hash: the order of the authors' list ({path.name}) is assumed,"
            " which is not that of mmaction2. Others can be named (classes of the Inferencer,"
            " --classes of tools/infer.py)",
            logger="current",
            level=logging.WARNING,
        )
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
    counts, classes = class_counts(cfg.model), meta.get("classes")
    if classes and counts and len(classes) not in counts:
        raise CheckpointError(
            f"{source}: the names of {len(classes)} classes are known, but the model has"
            f" {', '.join(map(str, sorted(counts)))}: name its own with --cfg-options"
            " \"test_dataloader.dataset.metainfo.classes=('cat','dog')\""
        )
