"""Files that are written whole, or not at all."""

import os
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from uniformer_mm.errors import UserError

ATOMIC = "atomic"
"""Name of the file backend: `backend_args=dict(backend="atomic")`."""

PARTIAL = ".partial"
"""How the names of files end that are being written; they begin with a dot."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name, and give it its own once it is on the disk.

    Raises:
        UserError: It cannot be written; then what was there before is still there.
    """
    partial = path.with_name(f".{path.name}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(
            f"cannot write {path} ({len(content) / 2**20:.1f} MiB): {error.strerror}. Make room or"
            " the folder writable, or choose another --work-dir."
        ) from error


class AtomicBackend(LocalBackend):
    """mmengine's files on local disks, written whole or not at all."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file.

        Raises:
            UserError: It cannot be written.
        """
        write_whole(Path(filepath), obj)


register_backend(ATOMIC, AtomicBackend, force=True)
