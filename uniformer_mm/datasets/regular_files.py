"""Files that are safe to read: regular ones, not pipes or devices, which may never end."""

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
    """Why a path is not read, as the rest of a sentence about it; empty for a regular file."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "is a link that leads back to itself"
        if os.path.islink(path):
            return "is a link to a file that does not exist"
        return f"cannot be read: {error.strerror}"
    return _objection_to(mode, os.path.islink(path))


def open_regular(path: str | Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        UserError: There is no such file, it cannot be read, or it is not a regular one.
    """
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115  the caller closes it
    except OSError as error:
        raise UserError(f"cannot read {printable(str(path))}: {error.strerror}") from error
    wrong = _objection_to(os.fstat(file.fileno()).st_mode, os.path.islink(path))
    if wrong:
        file.close()
        raise UserError(f"{printable(str(path))} {wrong}")
    return file


def _objection_to(mode: int, is_link: bool) -> str:
    if stat.S_ISREG(mode):
        return ""
    kind = KINDS.get(stat.S_IFMT(mode), "no file")
    return f"is {'a link to ' * is_link}{kind}: only regular files are read"


def _without_waiting(path: str, flags: int) -> int:
    """Open a pipe without waiting for somebody to write into it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
