"""Results as text, CSV, plots, and tables in a Markdown page."""

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from uniformer_mm.errors import UserError

Row = Mapping[str, Any]

WHERE_MADE = ("torch", "device", "command")
"""Columns that say how a row came about; they are the same in all rows of a file."""


def as_text(rows: Sequence[Row]) -> str:
    """An aligned table, without the columns that say where it was made."""
    names = [name for name in rows[0] if name not in WHERE_MADE]
    cells = [names, *([str(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def as_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table, with a line below that says where it was made."""
    names = [name for name in rows[0] if name not in WHERE_MADE]
    lines = [names, ["---"] * len(names), *([str(row[name]) for name in names] for row in rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    made = rows[0]
    return f"{table}\n\n{made['device']}, torch {made['torch']}: `{made['command']}`"


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write rows of the same columns."""
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
    if not rows or not set(WHERE_MADE) <= set(rows[0]):
        raise UserError(f"{path} is not a table of tools/benchmark.py")
    return rows


def fill_page(page: Path) -> None:
    """Make every table between `<!-- csv: FILE -->` and `<!-- end -->` of a page anew.

    Args:
        page: A Markdown file; the CSV files are named relative to it.
    """

    def filled(match: re.Match[str]) -> str:
        return f"{match[1]}\n{as_markdown(read_csv(page.parent / match[2]))}\n{match[3]}"

    pattern = r"(<!-- csv: (\S+) -->)\n.*?(<!-- end -->)"
    page.write_text(re.sub(pattern, filled, page.read_text(), flags=re.DOTALL))


def plot_lines(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]], path: Path, x: str
) -> None:
    """Panels of lines over a common axis, all axes logarithmic.

    Args:
        panels: By the label of the vertical axis: points by name of the line.
        path: Picture to write.
        x: Label of the horizontal axis.
    """
    all_axes, save = make_axes(path, len(panels))
    for axes, (y, series) in zip(all_axes, panels.items(), strict=True):
        for (name, points), marker in zip(series.items(), "osD^vP*X", strict=False):
            axes.plot(*zip(*points, strict=True), marker=marker, label=name)
        axes.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
        ticks = sorted({point[0] for points in series.values() for point in points})
        axes.minorticks_off()
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        values = [point[1] for points in series.values() for point in points]
        rounded = _round_ticks(min(values), max(values))
        axes.set_yticks(rounded, [f"{tick:g}" for tick in rounded])
        axes.legend()
        axes.grid(alpha=0.3)
    save()


def _round_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, 20 ... as far as they are needed."""
    ticks = [step * 10.0**power for power in range(-3, 7) for step in (1, 2, 5)]
    below = max(tick for tick in ticks if tick <= low)
    above = min(tick for tick in ticks if tick >= high)
    return [tick for tick in ticks if below <= tick <= above]


def plot_bars(
    bars: Mapping[str, tuple[float, float, float]], path: Path, x: str, title: str
) -> None:
    """Horizontal bars of medians with the quartiles as whiskers.

    Args:
        bars: Median, first and third quartile by name.
        path: Picture to write.
        x: Label of the horizontal axis.
        title: Above the picture.
    """
    (axes,), save = make_axes(path)
    names = list(bars)[::-1]
    medians = [bars[name][0] for name in names]
    errors = [
        [bars[name][0] - bars[name][1] for name in names],
        [bars[name][2] - bars[name][0] for name in names],
    ]
    drawn = axes.barh(names, medians, xerr=errors, capsize=3, color="#4477aa")
    axes.bar_label(drawn, fmt="%.4g", padding=6)
    axes.margins(x=0.15)
    axes.set(xlabel=x, title=title)
    save()


def make_axes(path: Path, number: int = 1) -> tuple[Any, Callable[[], None]]:
    """So many panels in a row, and a function that writes the picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5 * number, 4), layout="constrained")

    def save() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)

    return figure.subplots(1, number, squeeze=False)[0], save
