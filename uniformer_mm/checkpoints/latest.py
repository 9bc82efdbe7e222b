"""The checkpoint of a working directory that training goes on from."""

import logging
import zipfile
from os.path import isfile  # it takes any name; Path.is_file fails on long ones
from pathlib import Path

from mmengine.logging import print_log

from uniformer_mm.checkpoints.download import damage
from uniformer_mm.errors import CheckpointError

NAMES = ("iter_*.pth", "epoch_*.pth")
"""How checkpoints are named that hold all of a training; `best_*` have no optimizer state."""

LONGEST_PATH = 4096
"""Bytes of a path on Linux."""


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole; damaged ones are reported and passed over.

    Args:
        folder: Working directory of a training.

    Returns:
        The one that `last_checkpoint` names, or the newest before it; None if there is none at all.

    Raises:
        CheckpointError: All are damaged.
    """
    candidates = []
    if text := _recorded(Path(folder, "last_checkpoint")):
        # The folder may have been moved since.
        candidates = [Path(text), Path(folder, Path(text).name)]
        folder = next((path.parent for path in candidates if isfile(path)), folder)
    found = [path for pattern in NAMES for path in folder.glob(pattern) if isfile(path)]
    candidates += sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
    damaged: list[str] = []
    for path in dict.fromkeys(path.resolve() for path in candidates if isfile(path)):
        if is_whole(path):
            if damaged:
                print_log(
                    f"damaged: {', '.join(damaged)}. Training goes on from {path}",
                    logger="current",
                    level=logging.WARNING,
                )
            return path
        damaged.append(str(path))
    if damaged:
        raise CheckpointError(
            f"every checkpoint in {folder} is damaged: {', '.join(damaged)}. To train from the"
            " beginning, delete them or choose another --work-dir"
        )
    return None


def _recorded(record: Path) -> str:
    """The path in the file that mmengine writes; empty if there is none in it."""
    if not isfile(record):
        return ""
    try:
        with record.open(encoding="utf-8") as file:
            text = file.read(LONGEST_PATH).strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return text if text.isprintable() else ""


def is_whole(path: Path) -> bool:
    """Whether a file that torch wrote has all its parts, with the checksums written with them."""
    try:
        return zipfile.is_zipfile(path) and not damage(path)
    except OSError:
        return False
