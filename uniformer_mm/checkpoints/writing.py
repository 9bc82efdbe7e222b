"""Files that are written whole, or not at all."""

import os
import secrets
import socket
import time
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from uniformer_mm.errors import UserError

ATOMIC = "atomic"
"""Name of the file backend: `backend_args=dict(backend="atomic")`."""

PARTIAL = ".partial"
"""How the names of files end that are being written; they begin with a dot."""

ABANDONED = 3600.0
"""Seconds after which another host is not writing a partial file any more."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name, and give it its own once it is on the disk.

    Raises:
        UserError: It cannot be written; then what was there before is still there.
    """
    write_parts(path, [content])


def write_parts(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file out of parts that need not be in memory together, like `write_whole`.

    Raises:
        UserError: It cannot be written; then what was there before is still there.
    """
    partial = partial_path(path)
    size = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("xb") as file:
            for part in parts:
                size += len(part)
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({size / 2**20:.1f} MiB): {error.strerror}. Make room or"
            " the folder writable, or choose another --work-dir."
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()  # if it has not got its name


def partial_path(path: Path) -> Path:
    """A name for a file that is being written: in its folder, short, hidden, and used only once."""
    return path.with_name(f".{_host()}-{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}")


def delete_abandoned(folder: Path) -> None:
    """Delete partial files that nobody is writing any more.

    Those are the ones of processes that have ended; what may be another host's has to be old.
    """
    for path in folder.glob(f".*{PARTIAL}*"):
        host, _, rest = path.name[1:].partition("-")
        process = rest.partition("-")[0]
        with suppress(OSError):  # another has just deleted it
            if host == _host() and process.isdecimal():
                if not _is_running(int(process)):
                    path.unlink()
            elif time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()


def _host() -> str:
    """A short name of this machine."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


class AtomicBackend(LocalBackend):
    """mmengine's files on local disks, written whole or not at all."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file.

        Raises:
            UserError: It cannot be written.
        """
        write_whole(Path(filepath), obj)


register_backend(ATOMIC, AtomicBackend, force=True)
