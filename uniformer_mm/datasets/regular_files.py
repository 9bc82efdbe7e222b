"""Open regular files only: reading a pipe or a device may never end."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from uniformer_mm.errors import UserError, printable

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def objection(path: str | Path) -> str:
    """Return why a path is not read, as the predicate of a sentence; empty for a regular file."""
    try:
        return _objection(os.stat(path), path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "is a link that leads back to itself"
        if os.path.islink(path):
            return "is a link to a file that does not exist"
        return f"cannot be read: {error.strerror}"


def open_regular(path: str | Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        UserError: It does not exist, cannot be read, or is not a regular file.
    """
    flags = getattr(os, "O_NONBLOCK", 0)  # opening a pipe would wait for a writer
    try:
        file = open(path, "rb", opener=lambda p, mode: os.open(p, mode | flags))  # noqa: SIM115
    except OSError as error:
        raise UserError(f"cannot read {printable(str(path))}: {error.strerror}") from error
    if wrong := _objection(os.fstat(file.fileno()), path):
        file.close()
        raise UserError(f"{printable(str(path))} {wrong}")
    return file


def _objection(status: os.stat_result, path: str | Path) -> str:
    if stat.S_ISREG(status.st_mode):
        return ""
    kind = KINDS.get(stat.S_IFMT(status.st_mode), "not a file")
    return f"is {'a link to ' * os.path.islink(path)}{kind}: only regular files are read"
