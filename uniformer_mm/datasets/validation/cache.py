"""Remember which annotation files passed their check."""

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from mmengine.logging import print_log

from uniformer_mm.datasets.validation.coco_format import Report
from uniformer_mm.errors import UserError
from uniformer_mm.writing import write_whole

Use = TypeVar("Use")

SETTLED = 2.0
"""Seconds after which any file system gives a changed file another modification time."""


def check_once(split: str, path: str, check: Callable[[str, Use], Report], use: Use) -> Report:
    """Check an annotation file unless it passed before, and log what is used of it.

    A file of the size and modification time of one that passed is taken for the same. Where only
    the time differs, the hash of its content decides.

    Args:
        split: 'train', 'val' or 'test', for the log.
        path: The file.
        check: Checks it.
        use: What a dataset reads of it. A file is checked once for every use.

    Returns:
        The report of the check.

    Raises:
        UserError: The check failed.
    """
    note = notes_folder() / f"{_key(os.path.abspath(path), check.__name__, repr(use))}.json"
    report = _passed(note, path)
    if report is None:
        stat = Path(path).stat() if Path(path).is_file() else None
        report = check(path, use)
        if stat is not None:
            _write(note, path, stat, report)
    print_log(f"{split}: {report.line}", logger="current")
    for warning in report.warnings:
        print_log(warning, logger="current", level=logging.WARNING)
    return report


def notes_folder() -> Path:
    """Return the folder of the cache: UNIFORMER_MM_CACHE, or one in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("UNIFORMER_MM_CACHE") or Path(cache, "uniformer_mm")) / "annotations"


def _passed(note: Path, path: str) -> Report | None:
    """Return the report of a file that passed; None if it did not, or has changed since."""
    try:
        noted, stat = json.loads(note.read_text()), os.stat(path)
        has_settled = note.stat().st_mtime - stat.st_mtime > SETTLED
        is_same = has_settled and stat.st_mtime_ns == noted["time"]
        if stat.st_size == noted["size"] and (is_same or _hash(path) == noted["hash"]):
            return Report(**noted["report"])
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return None


def _write(note: Path, path: str, stat: os.stat_result, report: Report) -> None:
    """Note that a file passed; without a writable cache it is checked again next time."""
    with suppress(OSError, UserError):
        content = {
            "path": os.path.abspath(path),
            "size": stat.st_size,
            "time": stat.st_mtime_ns,
            "hash": _hash(path),
            "report": dataclasses.asdict(report),
        }
        if os.stat(path).st_mtime_ns == stat.st_mtime_ns:  # not changed during the check
            write_whole(note, json.dumps(content).encode())


def _hash(path: str) -> str:
    content = hashlib.blake2b(digest_size=32)
    with open(path, "rb") as file:
        for block in iter(partial(file.read, 1 << 20), b""):
            content.update(block)
    return content.hexdigest()


def _key(*key: str) -> str:
    """Hash a key and the code of the checks: a file is checked again by other checks."""
    sources = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.blake2b(
        b"\0".join([*map(str.encode, key), *sources]), digest_size=16
    ).hexdigest()
