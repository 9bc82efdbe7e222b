"""Errors of a user's mistakes, which tools show without a traceback."""

import sysconfig
from collections.abc import Iterator, Sequence
from itertools import dropwhile
from pathlib import Path
from traceback import walk_tb
from types import FrameType

STACK = (
    *("torch", "torchvision", "mmengine", "mmcv", "uniformer_mm"),
    *("mmdet", "mmseg", "mmpose", "mmaction", "mmpretrain"),
)
"""Packages whose checks report a user's mistakes."""

LIBRARIES = tuple(
    str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib")
)
TOOLS = tuple(
    str(folder / "tools") for folder in (Path(__file__).parents[1], Path(__file__).parent / ".mim")
)

MAX_TEXT = 500
"""Maximal number of characters of a file's text in a message."""


class UserError(Exception):
    """A mistake that the user can correct; the message names the value or file and the remedy."""

    def __str__(self) -> str:
        """The message without control characters, which file names may have."""
        return "\n".join(map(_without_control, super().__str__().split("\n")))


class CheckpointError(UserError):
    """A checkpoint cannot be read, or does not fit the model."""


def printable(text: str, longest: int = MAX_TEXT) -> str:
    """A file's text or name for a message: shortened, and without terminal control characters."""
    shown = _without_control(text[:longest])
    return shown if len(text) <= longest else f"{shown}..."


def listing(errors: Sequence[Exception]) -> str:
    """The messages of errors, one per line."""
    return "\n".join(printable(str(error), MAX_TEXT * 4) for error in errors)


def _without_control(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text)


def is_in_own_code(error: BaseException) -> bool:
    """Whether an error was raised in, or below, a user's code that the stack called.

    It may be a bug there. A user's script that calls this package does not count.
    """
    first, *causes = [
        # The first frame is that of the code which has caught the error.
        [_is_own(frame) for frame, _ in walk_tb(each.__traceback__)][1:]
        for each in causes_of(error)
    ]
    return any(dropwhile(bool, first)) or any(map(any, causes))


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error, its cause or context, the cause of that, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def add_hint(error: BaseException, text: str) -> None:
    """Print a line after the traceback of an error, once (from Python 3.11)."""
    notes = dict.fromkeys([*getattr(error, "__notes__", ()), f"hint: {text}"])
    error.__notes__ = list(notes)  # type: ignore[attr-defined]


def package_of(frame: FrameType) -> str:
    """Name of the package whose code a frame runs; empty for a config."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_own(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    if not package_of(frame) or package_of(frame) in STACK or file.startswith("<"):
        return False
    return not str(Path(file).resolve()).startswith((*LIBRARIES, *TOOLS))
