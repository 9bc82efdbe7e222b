"""One training at a time in a working directory."""

import errno
import logging
import os
import socket
from pathlib import Path
from typing import TextIO

from mmengine.logging import print_log

from uniformer_mm.errors import UserError, printable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME = "training.lock"
"""File in a working directory: number and host of the process that trains in it."""

_held: dict[Path, TextIO] = {}


def lock(folder: Path) -> None:
    """Keep other processes from training in a folder until `unlock`, or until this one ends.

    A POSIX lock ends with the process, is not inherited by its workers, and works between hosts on
    NFS. The file stays; what counts is the lock on it. On a file system without locks training goes
    on unprotected.

    Raises:
        UserError: Another process trains in it.
    """
    folder = folder.resolve()
    if fcntl is None or folder in _held:
        return
    file = (folder / NAME).open("a+")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        owner = printable(file.read(200).strip()) or "unknown"
        file.close()
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise UserError(
                f"another training is running in {folder}: {owner}. Choose another --work-dir, or"
                " stop that one first"
            ) from error
        print_log(f"{folder} cannot be locked: {error.strerror}", "current", logging.WARNING)
        return
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    _held[folder] = file


def unlock(folder: Path) -> None:
    """Let other processes train in a folder."""
    if file := _held.pop(folder.resolve(), None):
        file.close()
