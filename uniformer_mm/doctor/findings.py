"""What a check has found, as plain text."""

import re
import site
import sysconfig
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path

OK, FAILED, NOTE, ABSENT, SKIPPED = "ok", "FAILED", "note", "absent", "skipped"
"""States of a finding; only a failure makes an installation unfit."""

WIDTH = 100

HOMES = r"(/home/|/Users/|[A-Z]:\\Users\\)[^/\\\s'\"]+"
"""Home folders, also those that another machine left in a compiled file."""


@dataclass(frozen=True)
class Finding:
    """The outcome of a check.

    Attributes:
        state: `OK`, `FAILED`, `NOTE` (worth knowing), `ABSENT` (not installed) or `SKIPPED`.
        detail: What was measured or found, on one line.
        cause: Why it is not as it should be; empty if it is.
        remedy: The command that mends it, or what to do; empty without a cause.
    """

    state: str
    detail: str = ""
    cause: str = ""
    remedy: str = ""

    def lines(self) -> list[str]:
        """Cause and remedy below an indentation."""
        found = (("cause", self.cause), ("remedy", self.remedy))
        return [line for name, text in found if text for line in _paragraph(name, text)]


def _paragraph(name: str, text: str) -> list[str]:
    indentation = " " * 14
    return textwrap.wrap(
        anonymous(text),
        WIDTH,
        initial_indent=f"{indentation}{name:<8}",
        subsequent_indent=indentation + " " * 8,
        break_long_words=False,
        break_on_hyphens=False,
    )


def anonymous(text: str) -> str:
    """A text without the folders that say who runs it where."""
    folders = {
        **dict.fromkeys(site.getsitepackages(), "<site-packages>"),
        sysconfig.get_path("purelib"): "<site-packages>",
        sysconfig.get_path("stdlib"): "<python>",
        tempfile.gettempdir(): "<tmp>",
        str(Path(__file__).resolve().parents[2]): "<uniformer-mm>",
        str(Path.cwd()): ".",
        str(Path.home()): "~",
    }
    for folder in sorted(folders, key=len, reverse=True):
        if len(folder) > 1:  # the root has no secrets
            text = re.sub(rf"{re.escape(folder)}(?![\w-])", folders[folder], text)
    return re.sub(HOMES, "~", text)
