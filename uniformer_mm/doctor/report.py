"""The report of an installation, as text for a bug report."""

import re
import site
import sysconfig
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from uniformer_mm.doctor.checks import FAILED, OK, SKIPPED, Finding, all_checks, run_check
from uniformer_mm.doctor.environment import conflicts, machine, repairs, versions
from uniformer_mm.doctor.remedies import UNKNOWN

HOMES = r"(/home/|/Users/|[A-Z]:\\Users\\)[^/\\\s'\"]+"
"""Home folders, also those that another machine has written into a compiled file."""


def examine(write: Callable[[str], None]) -> bool:
    """Examine the installation of this process.

    Args:
        write: Called with the pieces of the report. The name of a check comes before the check: if
            it ends the process, it is the last word.

    Returns:
        Whether no check failed.
    """
    for title, entries in (("Versions", versions()), ("Machine", machine())):
        write(f"{title}\n")
        for name, text in entries.items():
            write(f"  {name:<16}{anonymous(text)}\n")
    write("Self-check\n")
    start = monotonic()
    states: dict[str, str] = {}
    remedies: dict[str, str] = {}
    for check in all_checks():
        write(f"  {check.name:<40}")
        since = monotonic()
        if states.get(check.needs, OK) == OK:
            finding = run_check(check)
        else:
            finding = Finding(SKIPPED, f"needs: {check.needs}")
        states[check.name] = finding.state
        detail = anonymous(finding.detail)
        write(f"{finding.state:<8}{monotonic() - since:5.1f} s  {detail}".rstrip() + "\n")
        earlier = remedies.setdefault(finding.remedy, check.name)
        if earlier != check.name and finding.remedy not in ("", UNKNOWN):
            write(paragraphs(f"as for: {earlier}", ""))
        else:
            write(paragraphs(finding.cause, finding.remedy))
    seconds = monotonic() - start
    # Only after the codebases have been imported is it known which modules are missing.
    write("Repairs of the stack, see uniformer_mm/compat\n")
    for name, (is_active, defect) in repairs().items():
        write(f"  {name:<30}{'active' if is_active else 'not active':<12}{defect}\n")
    for cause, remedy in conflicts():
        write(f"Note\n{paragraphs(cause, remedy)}")
    results = list(states.values())
    failed = results.count(FAILED)
    if failed:
        write(f"{failed} of {len(results)} checks failed: see causes and remedies above.\n")
    else:
        write(f"No check failed, {results.count(OK)} of {len(results)} are ok ({seconds:.0f} s).\n")
    return not failed


def paragraphs(cause: str, remedy: str) -> str:
    """Indented lines with a cause and a remedy, as far as there are any."""
    return "".join(
        textwrap.fill(
            anonymous(text),
            width=100,
            initial_indent=f"{'':14}{name:<8}",
            subsequent_indent=" " * 22,
            break_long_words=False,
            break_on_hyphens=False,
        )
        + "\n"
        for name, text in (("cause", cause), ("remedy", remedy))
        if text
    )


def anonymous(text: str) -> str:
    """A text without folders that identify the user."""
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
        if len(folder) > 1:  # not the root
            text = re.sub(rf"{re.escape(folder)}(?![\w-])", folders[folder], text)
    return re.sub(HOMES, "~", text)
