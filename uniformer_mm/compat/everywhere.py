"""Repair the stack in every program of an environment, also in those that do not import us.

Opt-in, by `tools/doctor.py --enable-everywhere`: two files in site-packages, which
`--disable-everywhere` removes.
"""

import shutil
import sysconfig
from pathlib import Path

from uniformer_mm.errors import UserError

MODULE = "_uniformer_mm_startup"


def files(folder: Path | None = None) -> tuple[Path, Path]:
    """The module and the `.pth` file, in site-packages or another folder."""
    folder = folder or Path(sysconfig.get_path("purelib"))
    return folder / f"{MODULE}.py", folder / f"{MODULE}.pth"


def enable(folder: Path | None = None) -> None:
    """Write the files.

    Raises:
        UserError: They cannot be written.
    """
    module, pth = files(folder)
    try:
        shutil.copyfile(Path(__file__).with_name("startup_hook.py"), module)
        pth.write_text(f"import {MODULE}; {MODULE}.install()\n")
    except OSError as error:
        raise UserError(f"cannot write {error.filename}: {error.strerror}") from error


def disable(folder: Path | None = None) -> None:
    """Remove the files, if they are there.

    Raises:
        UserError: They cannot be removed.
    """
    for path in reversed(files(folder)):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"cannot remove {path}: {error.strerror}") from error


def is_enabled(folder: Path | None = None) -> bool:
    """Whether the files are there."""
    return all(path.is_file() for path in files(folder))
