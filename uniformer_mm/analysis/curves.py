"""Training curves from the logs that mmengine writes into a work directory."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import product
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

from uniformer_mm.analysis.report import Row, make_axes
from uniformer_mm.errors import UserError
from uniformer_mm.tasks import TASKS

LOG = Path("vis_data", "scalars.json")
"""Where mmengine's LocalVisBackend writes, in a folder for each start of a run."""

COUNTERS = ("step", "iter", "epoch")
TIMING = ("time", "data_time", "memory")

LOWER_IS_BETTER = ("loss", "EPE", "NME", "error")
"""Parts of the names of values whose minimum is the best."""

STYLES = ("-", "--", ":", "-.")

AXIS_LABELS = {"training loss": "loss", "validation": "score"}
"""Labels of the vertical axes by panel, where they are not the panel's name."""


class Point(NamedTuple):
    """A value, its iteration, and the same in the run's own unit: 'epoch 3'."""

    iteration: int
    value: float
    when: str


@dataclass(frozen=True)
class Curves:
    """Logged values of a run.

    Attributes:
        name: Name of the run.
        training: Points in order, by name of the value.
        validation: The same of validation.
    """

    name: str
    training: Mapping[str, Sequence[Point]]
    validation: Mapping[str, Sequence[Point]]


def read_curves(work_dir: Path, name: str | None = None) -> Curves:
    """All logged values in a work directory, or in the folder of one of its starts.

    A resumed run has a log for each start. A later log replaces the earlier ones from its first
    iteration on: that part was trained again. A run from scratch replaces them all.

    Args:
        work_dir: The directory.
        name: Name of the run, if not the directory's.

    Raises:
        UserError: Nothing has been logged there.
    """
    lines: list[tuple[Point, bool, dict[str, Any]]] = []
    for file in sorted(work_dir.glob(f"*/{LOG}")) or work_dir.glob(str(LOG)):
        later = list(_read_log(file))
        begin = min((point.iteration for point, training, _ in later if training), default=None)
        if begin is not None:
            lines = [line for line in lines if line[0].iteration < begin] + later
    curves: tuple[dict[str, list[Point]], dict[str, list[Point]]] = ({}, {})
    for point, training, values in lines:
        for key, value in values.items():
            if key not in COUNTERS and isinstance(value, int | float):
                curves[not training].setdefault(key, []).append(point._replace(value=value))
    if not any(curves):
        raise UserError(
            f"{work_dir} has no training log */{LOG}: give the work_dir of a training that has"
            " reached its first logged iteration"
        )
    return Curves(name or work_dir.resolve().name, *curves)


def _read_log(file: Path) -> Iterator[tuple[Point, bool, dict[str, Any]]]:
    """Lines of a log: the position of each, whether it is of training, and its values.

    The step of a validation line may be an epoch, also in training by iterations, where it has no
    meaning: a line belongs to the iteration of the training line before it.
    """
    iteration = 0
    by_epoch = False
    for text in file.read_text().splitlines():
        try:
            values = json.loads(text)
        except json.JSONDecodeError:  # the process was killed while it wrote
            continue
        training = "iter" in values
        step = int(values.get("step", 0))
        if training:
            iteration, by_epoch = step, "epoch" in values
        elif not by_epoch:
            iteration = max(iteration, step)
        when = f"iteration {iteration}"
        if by_epoch:
            when = f"epoch {values['epoch'] if training else step}"
        yield Point(iteration, 0.0, when), training, values


def run_names(work_dirs: Sequence[Path]) -> list[str]:
    """Names of runs: those of their folders, with parents as far as needed to distinguish them."""
    parts = [path.resolve().parts for path in work_dirs]
    length = 1
    while len({part[-length:] for part in parts}) < len(set(parts)):
        length += 1
    return ["/".join(part[-length:]) for part in parts]


def choose_keys(runs: Sequence[Curves], patterns: Sequence[str] | None) -> list[str]:
    """Names of the values to plot.

    Args:
        runs: Runs, some of which have logged the values.
        patterns: Patterns such as 'loss' or 'coco/*'; None for losses (the total if there are
            several runs), learning rate and the main scores of the task.

    Raises:
        UserError: No run has such a value.
    """
    training = list(dict.fromkeys(key for run in runs for key in run.training))
    validation = list(dict.fromkeys(key for run in runs for key in run.validation))
    available = list(dict.fromkeys(training + validation))
    if patterns is None:
        main = {score for task in TASKS.values() for score in task.scores}
        scores = [key for key in validation if key in main] or [
            key for key in validation if key not in TIMING
        ]
        losses = [key for key in training if "loss" in key]
        if len(runs) > 1 and "loss" in losses:
            losses = ["loss"]
        return list(dict.fromkeys([*losses, *(key for key in training if key == "lr"), *scores]))
    for pattern in patterns:
        if not any(fnmatch(key, pattern) for key in available):
            raise UserError(f"{pattern!r} was not logged; choose from {', '.join(available)}")
    return [key for key in available if any(fnmatch(key, pattern) for pattern in patterns)]


def plot_curves(runs: Sequence[Curves], keys: Sequence[str], path: Path) -> None:
    """Plot panels of training losses, learning rate, validation scores and other values.

    Colours distinguish runs if there are several, else values.

    Args:
        runs: Runs to compare.
        keys: Names of values.
        path: Image to write.

    Raises:
        UserError: There is nothing to plot, or the file cannot be written.
    """
    panels: dict[str, list[tuple[str, Sequence[Point], int, int]]] = {
        name: [] for name in ("training loss", "learning rate", "validation")
    }
    for (run_index, run), (index, key) in product(enumerate(runs), enumerate(keys)):
        label = key if len(runs) == 1 else f"{run.name}: {key}"
        colour, style = (index, 0) if len(runs) == 1 else (run_index, index)
        panel = "training loss" if "loss" in key else "learning rate" if key == "lr" else key
        for name, curves in ((panel, run.training), ("validation", run.validation)):
            if key in curves:
                panels.setdefault(name, []).append((label, curves[key], colour, style))
    filled = {name: lines for name, lines in panels.items() if lines}
    if not filled:
        raise UserError(f"nothing to plot: {', '.join(run.name for run in runs)} logged no values")
    all_axes, save = make_axes(path, len(filled))
    for axes, (title, lines) in zip(all_axes, filled.items(), strict=True):
        for label, points, colour, style in lines:
            axes.plot(
                [point.iteration for point in points],
                [point.value for point in points],
                label=label,
                color=f"C{colour % 10}",
                linestyle=STYLES[style % len(STYLES)],
                marker="." if len(points) < 50 else None,  # a single point has no line
            )
        axes.set(xlabel="iteration", ylabel=AXIS_LABELS.get(title, title), title=title)
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
    save()


def summarize(runs: Sequence[Curves], keys: Sequence[str]) -> list[Row]:
    """The best and the last of each validation score, and of the training losses."""
    rows: list[Row] = []
    for run, key in product(runs, keys):
        lower = any(part in key for part in LOWER_IS_BETTER)
        for where, curves in (("validation", run.validation), ("training", run.training)):
            if key not in curves or (where == "training" and not lower):
                continue
            points = curves[key]
            candidates = [point for point in points if not isnan(point.value)] or points
            best = (min if lower else max)(candidates, key=lambda point: point.value)
            rows.append(
                {
                    "run": run.name,
                    "value": f"{key} ({where})",
                    "best": f"{best.value:.4g}",
                    "at": best.when,
                    "last": f"{points[-1].value:.4g}",
                    "of": points[-1].when,
                }
            )
    return rows
