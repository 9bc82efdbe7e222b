"""Write files atomically: under a temporary name, then renamed."""

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
"""Suffix of temporary files; their names begin with a dot."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically; errors as in `write_parts`."""
    write_parts(path, [content])


def write_parts(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file atomically from parts that need not fit into memory together.

    Raises:
        UserError: It cannot be written; an existing file stays as it was.
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
            f"cannot write {path} ({size / 2**20:.1f} MiB): {error.strerror}. Free some space or"
            " make the folder writable, or choose another one (--work-dir, --out-dir)."
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()  # if it was not renamed


def partial_path(path: Path) -> Path:
    """Return a new name for a temporary file in the folder of a file: short and hidden."""
    return path.with_name(f".{secrets.token_hex(6)}{PARTIAL}")


def delete_abandoned(folder: Path) -> None:
    """Delete temporary files of killed processes, but not those that are being written."""
    for path in folder.glob(f".*{PARTIAL}"):
        with suppress(OSError), path.open("rb") as file, locked(file) as alone:
            if alone and path.stat().st_size:  # empty: may not be locked yet
                path.unlink()


@contextmanager
def locked(file: IO[bytes] | int, wait: bool = False) -> Iterator[bool]:
    """Lock an open file until the end of the context, or of the process.

    Args:
        file: The file.
        wait: Whether to wait until others have released it.

    Yields:
        Whether the lock is held; False also where the file system has no locks.
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
    """mmengine's backend for local disks, with atomic writes."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file; errors as in `write_parts`."""
        write_whole(Path(filepath), obj)


register_backend(ATOMIC, AtomicBackend, force=True)
