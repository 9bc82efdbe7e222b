"""Results as text, CSV, plots, and tables in a Markdown page."""

import csv
import os
import platform
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from uniformer_mm.errors import UserError

Row = Mapping[str, Any]

ORIGIN = ("torch", "device", "command")
"""Columns that say how a row was measured; they are the same in all rows of a file."""


def as_text(rows: Sequence[Row]) -> str:
    """An aligned table, without the columns of `ORIGIN`."""
    lines = _cells(rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def as_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table, followed by a line that says how it was measured."""
    names, *lines = _cells(rows)
    table = "\n".join(f"| {' | '.join(line)} |" for line in (names, ["---"] * len(names), *lines))
    origin = rows[0]
    return f"{table}\n\n{origin['device']}, torch {origin['torch']}: `{origin['command']}`"


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    names = [name for name in rows[0] if name not in ORIGIN]
    return [names, *([str(row[name]) for name in names] for row in rows)]


def write_csv(rows: Sequence[Row], path: Path, device: str) -> None:
    """Write rows of the same columns, and how this process has measured them.

    Args:
        rows: The rows.
        path: The file.
        device: torch's name of the device.
    """
    command = shlex.join([os.path.relpath(sys.argv[0]), *sys.argv[1:]])
    origin = (torch.__version__, device_name(device), command)
    rows = [{**row, **dict(zip(ORIGIN, origin, strict=True))} for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: Path) -> list[Row]:
    """Rows that `write_csv` has written.

    Raises:
        UserError: There is no such file, or nothing in it.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; write it with tools/benchmark.py ... --csv {path}")
    with path.open(newline="") as file:
        rows: list[Row] = list(csv.DictReader(file))
    if not rows or not set(ORIGIN) <= set(rows[0]):
        raise UserError(f"{path} is not a table of tools/benchmark.py")
    return rows


def update_page(page: Path) -> None:
    """Regenerate every table between `<!-- csv: FILE -->` and `<!-- end -->` of a page.

    Args:
        page: A Markdown file; the CSV files are named relative to it.
    """

    def updated(match: re.Match[str]) -> str:
        return f"{match[1]}\n{as_markdown(read_csv(page.parent / match[2]))}\n{match[3]}"

    pattern = r"(<!-- csv: (\S+) -->)\n.*?(<!-- end -->)"
    page.write_text(re.sub(pattern, updated, page.read_text(), flags=re.DOTALL))


def device_name(device: str) -> str:
    """The GPU, or the CPU with its instruction set and threads."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{cpu_model()} ({capability}), {torch.get_num_threads()} threads"


def cpu_model() -> str:
    """The processor's name."""
    file = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", file.read_text(), re.M) if file.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def plot_lines(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]], path: Path, x: str
) -> None:
    """Plot panels of lines over a common axis; all axes are logarithmic.

    Args:
        panels: Points by name of the line, by label of the vertical axis.
        path: Image to write.
        x: Label of the horizontal axis.
    """
    from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

    all_axes, save = make_axes(path, len(panels))
    for axes, (y, series) in zip(all_axes, panels.items(), strict=True):
        for (name, points), marker in zip(series.items(), "osD^vP*X", strict=False):
            axes.plot(*zip(*points, strict=True), marker=marker, label=name)
        axes.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
        axes.set_xticks(sorted({point[0] for points in series.values() for point in points}))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(ScalarFormatter())
            axis.set_minor_locator(NullLocator())
        axes.legend()
        axes.grid(alpha=0.3)
    save()


def plot_bars(
    bars: Mapping[str, tuple[float, float, float]], path: Path, x: str, title: str
) -> None:
    """Plot horizontal bars of medians with the quartiles as whiskers.

    Args:
        bars: Median, first and third quartile by name.
        path: Image to write.
        x: Label of the horizontal axis.
        title: Title of the plot.
    """
    (axes,), save = make_axes(path)
    medians, lower, upper = zip(*bars.values(), strict=True)
    errors = [
        [median - low for median, low in zip(medians, lower, strict=True)],
        [high - median for median, high in zip(medians, upper, strict=True)],
    ]
    drawn = axes.barh(list(bars), medians, xerr=errors, capsize=3, color="#4477aa")
    axes.bar_label(drawn, fmt="%.4g", padding=6)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set(xlabel=x, title=title)
    save()


def make_axes(path: Path, number: int = 1) -> tuple[Any, Callable[[], None]]:
    """Axes in a row, and a function that writes the figure.

    The function raises UserError if the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5 * number, 4), layout="constrained")

    def save() -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=110)
        except (OSError, ValueError) as error:
            raise UserError(f"cannot write {path}: {error}") from error

    return figure.subplots(1, number, squeeze=False)[0], save
