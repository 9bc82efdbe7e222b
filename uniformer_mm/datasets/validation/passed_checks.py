"""A note of every annotation file that has passed its check: it is not checked again."""

import dataclasses
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from mmengine.logging import print_log

from uniformer_mm.datasets.validation.coco_files import Report

Use = TypeVar("Use")

SETTLED = 2.0
"""Seconds after which a change of a file shows in its time, on any file system."""

BLOCK = 1 << 20


def check_once(split: str, path: str, check: Callable[[str, Use], Report], use: Use) -> Report:
    """Check an annotation file unless it has passed before, and log what is used of it.

    A file of the same size and time as a file that passed is taken for the same; where only the
    time differs, its content is compared by a hash.

    Args:
        split: What the dataset is for, for the log.
        path: The file.
        check: The check.
        use: What a dataset takes from the file; a file is checked for every use.

    Returns:
        The report of the check.

    Raises:
        UserError: Something is wrong with the file.
    """
    note = notes_folder() / f"{_digest(os.path.abspath(path), check.__name__, repr(use))}.json"
    report = _noted(note, path)
    if report is None:
        stat = Path(path).stat() if Path(path).is_file() else None
        report = check(path, use)
        if stat is not None:
            _write_note(note, path, stat, report)
    print_log(f"{split}: {report.line}", logger="current")
    for warning in report.warnings:
        print_log(warning, logger="current", level=logging.WARNING)
    return report


def notes_folder() -> Path:
    """Where the notes are: UNIFORMER_MM_CACHE, or a folder in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("UNIFORMER_MM_CACHE") or Path(cache, "uniformer_mm")) / "annotations"


def _noted(note: Path, path: str) -> Report | None:
    """The report of a file that has passed; None if it has not, or has changed since."""
    try:
        noted = json.loads(note.read_text())
        stat = os.stat(path)
        if stat.st_size != noted["size"]:
            return None
        settled = noted["checked"] - stat.st_mtime > SETTLED
        is_same = settled and stat.st_mtime_ns == noted["time"]
        if not is_same and _hash(path) != noted["hash"]:
            return None
        return Report(**noted["report"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _write_note(note: Path, path: str, stat: os.stat_result, report: Report) -> None:
    """Note that a file has passed; a cache that cannot be written is done without."""
    content: dict[str, Any] = {
        "path": os.path.abspath(path),
        "size": stat.st_size,
        "time": stat.st_mtime_ns,
        "checked": time.time(),
        "report": dataclasses.asdict(report),
    }
    with suppress(OSError):
        content["hash"] = _hash(path)
        if os.stat(path).st_mtime_ns != stat.st_mtime_ns:
            return
        note.parent.mkdir(parents=True, exist_ok=True)
        part = note.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(content))
        part.replace(note)


def _hash(path: str) -> str:
    """Hash of a file's content."""
    content = hashlib.blake2b(digest_size=32)
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            content.update(block)
    return content.hexdigest()


def _digest(*key: str) -> str:
    """Hash of a key and of the checks themselves: other checks are made again."""
    sources = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*_files.py"))]
    return hashlib.blake2b(
        b"\0".join([*map(str.encode, key), *sources]), digest_size=16
    ).hexdigest()
