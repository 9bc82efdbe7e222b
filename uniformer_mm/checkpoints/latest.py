"""Find the checkpoint of a working directory from which training resumes."""

import logging
import zipfile
from os.path import isfile  # takes any name; Path.is_file fails on long ones
from pathlib import Path

from mmengine.logging import print_log

from uniformer_mm.checkpoints.io import zip_fault
from uniformer_mm.errors import CheckpointError

NAMES = ("iter_*.pth", "epoch_*.pth")
"""Names of checkpoints with the full training state; `best_*` have no optimizer state."""

LONGEST_PATH = 4096
"""Bytes of a path on Linux."""


def latest_checkpoint(folder: Path) -> Path | None:
    """Find the newest intact checkpoint; damaged ones are reported and skipped.

    Args:
        folder: Working directory of a training.

    Returns:
        The one that `last_checkpoint` names, or the newest before it; None if there are none.

    Raises:
        CheckpointError: All are damaged.
    """
    recorded = Path(_recorded(folder / "last_checkpoint"))
    candidates = [recorded, folder / recorded.name]  # the folder may have been moved since
    if isfile(recorded):
        folder = recorded.parent
    found = [path for pattern in NAMES for path in folder.glob(pattern) if isfile(path)]
    candidates += sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
    files = dict.fromkeys(path.resolve() for path in candidates if isfile(path))
    damaged: list[str] = []
    for path in files:
        if is_intact(path):
            if damaged:
                print_log(
                    f"damaged: {', '.join(damaged)}. Training resumes from {path}",
                    logger="current",
                    level=logging.WARNING,
                )
            return path
        damaged.append(str(path))
    if damaged:
        raise CheckpointError(
            f"every checkpoint in {folder} is damaged: {', '.join(damaged)}. To train from scratch,"
            " delete them or choose another --work-dir"
        )
    return None


def _recorded(record: Path) -> str:
    """Path in the file that mmengine writes; empty if it cannot be read as one."""
    if not isfile(record):  # mmengine may have been killed before writing it
        return ""
    with record.open("rb") as file:
        text = file.read(LONGEST_PATH).decode(errors="replace").strip()
    return text if text.isprintable() else ""


def is_intact(path: Path) -> bool:
    """Whether a file written by torch has all its entries, with the right checksums."""
    try:
        return zipfile.is_zipfile(path) and not zip_fault(path)
    except OSError:
        return False
