"""Check datasets of mmpretrain with a folder per class, or with a list of images and labels."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.fileio import list_from_file

from uniformer_mm.datasets.overrides import dataset_configs, evaluators
from uniformer_mm.errors import UserError

DATASETS = ("ImageNet", "CustomDataset")

CODE = re.compile(r"n?\d+")
"""Names of folders that stand for classes of other names, such as WordNet's."""

SHOWN = 5
"""Class folders that an error lists."""

SET_CLASSES = (
    "set num_classes of model.head and of data_preprocessor, and metainfo=dict(classes=[...]) of"
    " the datasets"
)


def check_class_folders(cfg: Config, splits: Sequence[str], explain: Callable[[str], str]) -> None:
    """Check the folders of images, the number and order of their classes, and labels of lists.

    Args:
        cfg: The config.
        splits: Splits whose data will be read.
        explain: Returns where to get the data, and their layout under a root.

    Raises:
        UserError: A folder is missing, or does not fit the model or the folders of training.
    """
    num_classes = cfg.model.get("head", {}).get("num_classes")
    trained: Path | None = None
    for split, dataset in dataset_configs(cfg):
        if dataset["type"] not in DATASETS:
            continue
        root = Path(dataset.get("data_root") or "")
        prefix = dataset.get("data_prefix") or dataset.get("split") or ""
        folder = root / (prefix["img_path"] if isinstance(prefix, dict) else prefix)
        listing = root / (dataset.get("ann_file") or f"meta/{dataset.get('split')}.txt")
        if split == "train" and folder.is_dir() and not listing.is_file():
            trained = folder
        if split not in splits:
            continue
        if not folder.is_dir():
            help_text = explain(str(dataset.get("data_root") or ""))
            raise UserError(f"the dataset is missing:\n    {folder}\n{help_text}")
        if num_classes is None or dataset.get("split") == "test":
            continue
        if listing.is_file():
            _check_labels(listing, num_classes)
        else:
            _check_folders(folder, dataset, num_classes, trained or folder)


def check_top_k(cfg: Config, splits: Sequence[str]) -> None:
    """Check that there are k classes for top-k accuracy, which fails after the first epoch else.

    Raises:
        UserError: There are fewer.
    """
    num_classes = cfg.model.get("head", {}).get("num_classes")
    for split, metric in evaluators(cfg):
        largest = max(np.atleast_1d(metric.get("topk", 1)), default=1)
        is_used = split in splits and metric["type"] == "Accuracy"
        if is_used and num_classes is not None and largest > num_classes:
            raise UserError(
                f"top-{largest} accuracy of {num_classes} classes: set {split}_evaluator.topk=(1,)"
            )


def _check_labels(listing: Path, num_classes: int) -> None:
    """Check the labels of a list, for which mmpretrain raises an assertion that names no file."""
    with listing.open() as lines:
        for number, line in enumerate(lines, 1):
            label = line.strip().rpartition(" ")[-1]
            if not label.isdecimal() or int(label) >= num_classes:
                raise UserError(
                    f"{listing}, line {number}: label {label!r}, but the model's classes are 0 to"
                    f" {num_classes - 1}. Correct it, or {SET_CLASSES}"
                )


def _check_folders(folder: Path, dataset: dict[str, Any], num_classes: int, trained: Path) -> None:
    """Compare class folders with those of training, and with the classes of data and model.

    mmpretrain numbers classes by the folders' names, in each split separately.
    """
    found = _class_folders(folder)
    _compare(f"{folder} has", found, f"{trained} has", _class_folders(trained))
    names = (dataset.get("metainfo") or {}).get("classes") or dataset.get("classes")
    if isinstance(names, str):
        names = list_from_file(names)
    expected = len(names) if names else 1000 if dataset["type"] == "ImageNet" else len(found)
    if names and not all(map(CODE.fullmatch, found)):
        _compare(f"{folder} has", found, "the dataset's config names", list(names))
        if list(names) != found:
            raise UserError(
                f"{folder}: classes are numbered in the order of the folders' names; give the"
                f" classes of the dataset's config in the same order: {tuple(found)}"
            )
    elif names and all(map(str.isdecimal, found)) and found != sorted(found, key=int):
        raise UserError(
            f"{folder}: the alphabetical order of the folders' names, {', '.join(found[:4])} ...,"
            " is not their numerical order: class names would be assigned to other folders. Name"
            " the folders with leading zeros"
        )
    if not len(found) == expected <= num_classes:
        raise UserError(
            f"{folder} has {len(found)} class folders, but the dataset's config {expected} classes"
            f" and the model {num_classes}. Complete the folders, or {SET_CLASSES}"
        )


def _class_folders(folder: Path) -> list[str]:
    """Return the names of the folders that mmpretrain takes for classes, in its order."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def _compare(who: str, found: Sequence[str], other: str, expected: Sequence[str]) -> None:
    """Raise if one of two lists has class folders that the other does not have."""
    facts = [
        f"{subject} {', '.join(map(repr, differing[:SHOWN]))}{' ...' * (len(differing) > SHOWN)}"
        for subject, differing in (
            (who, [name for name in found if name not in set(expected)]),
            (other, [name for name in expected if name not in set(found)]),
        )
        if differing
    ]
    if facts:
        raise UserError(
            f"class folders differ: {'; '.join(facts)}, which is not in the other. Rename or remove"
            " folders (a class without images may have an empty one), or correct `classes`"
        )
