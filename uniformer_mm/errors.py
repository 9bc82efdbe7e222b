"""The error of a user's mistake, which tools show without a traceback, and what is not one."""

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
"""Packages whose own checks speak of a user's mistake."""

LIBRARIES = tuple(
    str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib")
)
TOOLS = tuple(
    str(folder / "tools") for folder in (Path(__file__).parents[1], Path(__file__).parent / ".mim")
)

LONGEST_TEXT = 500
"""Characters of somebody's text in a message."""


class UserError(Exception):
    """Something the user can mend; the message names the value or file and the remedy."""

    def __str__(self) -> str:
        """The message without the control characters that names of files may have."""
        return "\n".join(map(_without_control, super().__str__().split("\n")))


class CheckpointError(UserError):
    """A checkpoint cannot be read, or does not belong to the model."""


def printable(text: str, longest: int = LONGEST_TEXT) -> str:
    """What a message may show of a file's own text or name, which could steer a terminal."""
    shown = _without_control(text[:longest])
    return shown if len(text) <= longest else f"{shown}..."


def listing(errors: Sequence[Exception]) -> str:
    """One error a line, without what could steer a terminal."""
    return "\n".join(printable(str(error), LONGEST_TEXT * 4) for error in errors)


def _without_control(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text)


def is_in_own_code(error: BaseException) -> bool:
    """Whether an error came up in, or below, code of the user's own that the stack has called.

    It may be a bug there. A script of the user's own that calls this package does not count.
    """
    first, *causes = [
        # The first frame is that of the code which has caught the error.
        [_is_own(frame) for frame, _ in walk_tb(each.__traceback__)][1:]
        for each in causes_of(error)
    ]
    return any(dropwhile(bool, first)) or any(map(any, causes))


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it was raised from or while handling, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def add_hint(error: BaseException, text: str) -> None:
    """Have a line printed after the traceback of an error, once (Python 3.11)."""
    notes = dict.fromkeys([*getattr(error, "__notes__", ()), f"hint: {text}"])
    error.__notes__ = list(notes)  # type: ignore[attr-defined]


def package_of(frame: FrameType) -> str:
    """Name of the package whose code a frame runs; empty for the code of a config."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_own(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    if not package_of(frame) or package_of(frame) in STACK or file.startswith("<"):
        return False
    return not str(Path(file).resolve()).startswith((*LIBRARIES, *TOOLS))
