"""The whole of an examination, as the text of a bug report."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from time import monotonic

from uniformer_mm.doctor.checks import all_checks, run_check
from uniformer_mm.doctor.environment import conflicts, machine, repairs, versions
from uniformer_mm.doctor.findings import FAILED, OK, SKIPPED, Finding, anonymous
from uniformer_mm.doctor.remedies import REPORT

COLUMN = 40


def examine(write: Callable[[str], None]) -> bool:
    """Examine the installation that this runs in.

    Args:
        write: Takes the report piece by piece, as it comes about. The name of a check comes before
            the check: if it ends the process, it is the last word.

    Returns:
        Whether nothing failed.
    """
    for title, entries in (("Versions", versions()), ("Machine", machine())):
        write(f"{title}\n")
        for name, text in entries.items():
            write(f"  {name:<16}{anonymous(text)}\n")
    write("Self-check\n")
    start = monotonic()
    findings: dict[str, Finding] = {}
    for check in all_checks():
        write(f"  {check.name:<{COLUMN}}")
        since = monotonic()
        needed = findings.get(check.needs)
        if needed and needed.state != OK:
            finding = Finding(SKIPPED, f"needs: {check.needs}")
        else:
            finding = run_check(check)
        finding = _without_repetition(finding, findings)
        findings[check.name] = finding
        outcome = f"{finding.state:<8}{monotonic() - since:5.1f} s  {anonymous(finding.detail)}"
        write("".join(f"{line}\n" for line in (outcome.rstrip(), *finding.lines())))
    seconds = monotonic() - start
    # Now that the codebases are imported, it shows which modules were missing.
    write("Repairs of the stack, see uniformer_mm/compat\n")
    for name, (is_active, defect) in repairs().items():
        write(f"  {name:<30}{'active' if is_active else 'not active':<12}{defect}\n")
    for finding in conflicts():
        write("".join(f"{line}\n" for line in ("Note", *finding.lines())))
    states = [finding.state for finding in findings.values()]
    failed = states.count(FAILED)
    write(
        f"{failed} of {len(states)} checks failed: causes and remedies are above.\n"
        if failed
        else f"All is well: {states.count(OK)} of {len(states)} checks ok, none failed"
        f" ({seconds:.0f} s).\n"
    )
    return not failed


def _without_repetition(finding: Finding, earlier: Mapping[str, Finding]) -> Finding:
    """A finding that refers to the first one with the same remedy."""
    if finding.remedy == REPORT:
        return finding
    for name, known in earlier.items():
        if finding.remedy and known.remedy == finding.remedy:
            return replace(finding, cause=f"as for: {name}", remedy="")
    return finding
