"""Files that are written whole, or not at all."""

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from mmengine.fileio import LocalBackend, register_backend

from uniformer_mm.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

ATOMIC = "atomic"
"""Name of the file backend: `backend_args=dict(backend="atomic")`."""

PARTIAL = ".partial"
"""How the names of files end that are being written; they begin with a dot."""


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
        with partial.open("xb") as file, locked(file, wait=True):
            for part in parts:
                size += len(part)
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
            partial.replace(path)
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({size / 2**20:.1f} MiB): {error.strerror}. Make room or"
            " the folder writable, or choose another one (--work-dir, --out-dir)."
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()  # if it has not got its name


def partial_path(path: Path) -> Path:
    """A name for a file that is being written: in its folder, short, hidden, and used only once."""
    return path.with_name(f".{secrets.token_hex(6)}{PARTIAL}")


def delete_abandoned(folder: Path) -> None:
    """Delete what killed processes left of files, but not what another one is writing."""
    for path in folder.glob(f".*{PARTIAL}"):
        with suppress(OSError), path.open("rb") as file, locked(file) as alone:
            if alone and path.stat().st_size:  # empty: may not be locked yet
                path.unlink()


@contextmanager
def locked(file: IO[bytes] | int, wait: bool = False) -> Iterator[bool]:
    """Hold a lock on an open file that ends with this process at the latest.

    Args:
        file: Of a file or folder.
        wait: Until others have released it; otherwise the answer is False.

    Returns:
        Whether it is held; False also where the file system has no locks.
    """
    held = False
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = True
    try:
        yield held
    finally:
        if held:
            fcntl.flock(file, fcntl.LOCK_UN)


class AtomicBackend(LocalBackend):
    """mmengine's files on local disks, written whole or not at all."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file.

        Raises:
            UserError: It cannot be written.
        """
        write_whole(Path(filepath), obj)


register_backend(ATOMIC, AtomicBackend, force=True)
