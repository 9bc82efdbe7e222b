"""Classes, colors and keypoints that the outputs of a model stand for."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS, DefaultScope

from uniformer_mm.checkpoints.facts import published_facts
from uniformer_mm.checkpoints.zoo import MIM
from uniformer_mm.datasets.validation.num_classes import class_counts
from uniformer_mm.errors import CheckpointError, printable

CLASS_LISTS = MIM / "configs" / "video" / "classes"
"""Actions in the order of the authors' lists, one per line, by the name of the data's folder."""


def checkpoint_meta(cfg: Config, content: Any, path: Path) -> dict[str, Any]:
    """Determine the `dataset_meta` of a checkpoint, from itself or from its config.

    Args:
        cfg: Config of the model.
        content: Content of the checkpoint; None without one.
        path: Its file, whose SHA-256 may tell the order of the classes.

    Raises:
        CheckpointError: The names are not strings, or not as many as the classes of the model.
    """
    own, written = dataset_meta(cfg), written_meta(content, path)
    if cfg.default_scope == "mmaction" and written is None:
        own.update(_published_actions(cfg, content, path))
    elif written and written.get("classes", own.get("classes")) != own.get("classes"):
        own = {}  # the colors are of other classes
    meta = {**own, **(written or {})}
    check_class_count(cfg, meta, path)
    return meta


def dataset_meta(cfg: Config) -> dict[str, Any]:
    """Return the metainfo of a config's test dataset as plain data, without reading its files."""
    dataset = cfg.test_dataloader.dataset
    while "dataset" in dataset:
        dataset = dataset.dataset
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        built = DATASETS.build({**dataset, "lazy_init": True, "pipeline": []})
    return dict(built.metainfo)


def written_meta(content: Any, path: Path) -> dict[str, Any] | None:
    """Return what training code wrote about the dataset into a checkpoint.

    MM 1.x wrote in capitals. Control characters in the names of classes are replaced.

    Returns:
        The meta, empty if the training had no names; None if nothing was written.

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
        raise CheckpointError(f"{path}: {name} must be a dict, got {printable(repr(written))}")
    classes = written.get("classes")
    if classes is None:
        return dict(written)
    if not isinstance(classes, list | tuple) or not all(isinstance(each, str) for each in classes):
        raise CheckpointError(
            f"{path}: {name}.classes must be a list of strings, got {printable(repr(classes))}"
        )
    return {**written, "classes": type(classes)(map(printable, classes))}


def _published_actions(cfg: Config, content: Any, path: Path) -> dict[str, Any]:
    """Return the classes of the authors' lists: mmaction2's datasets have none."""
    root = cfg.test_dataloader.dataset.get("data_root") or ""
    names = CLASS_LISTS / f"{Path(root).name}.txt"
    if not names.is_file():
        return {}
    classes = names.read_text(encoding="utf-8").splitlines()
    facts = published_facts(path)
    if facts and facts.alphabetical:
        classes.sort()
    elif content is not None and not facts:
        print_log(
            f"{printable(str(path))} does not name its classes and is not a published file with a"
            f" known SHA-256: the order of the authors' list ({names.name}) is assumed, not that of"
            " mmaction2. To name others, use classes of the Inferencer, or --classes of"
            " tools/infer.py",
            logger="current",
            level=logging.WARNING,
        )
    return {"classes": tuple(classes)}


def check_class_count(cfg: Config, meta: Mapping[str, Any], source: str | Path) -> None:
    """Check that there are as many names as the model has classes.

    Args:
        cfg: Config of the model.
        meta: Has the names.
        source: Where they come from, for the error.

    Raises:
        CheckpointError: There are more or fewer.
    """
    counts, classes = class_counts(cfg.model), meta.get("classes")
    if classes and counts and len(classes) not in counts:
        raise CheckpointError(
            f"{source}: the names of {len(classes)} classes are known, but the model has"
            f" {', '.join(map(str, sorted(counts)))}: name its own with --cfg-options"
            " \"test_dataloader.dataset.metainfo.classes=('cat','dog')\""
        )
