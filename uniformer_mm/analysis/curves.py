"""Training curves out of the logs that mmengine leaves in a working directory."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from uniformer_mm.analysis.report import Row, make_axes
from uniformer_mm.errors import UserError
from uniformer_mm.tasks import TASKS

LOG = Path("vis_data", "scalars.json")
"""Where mmengine's LocalVisBackend writes, below a folder for each start of a run."""

COUNTERS = ("step", "iter", "epoch")
"""What says where a line belongs; the rest of it are values."""

LOWER_IS_BETTER = ("loss", "EPE", "NME", "error")
"""Parts of the names of values of which the smallest is the best."""

PANELS = ("training loss", "learning rate", "validation")
"""In this order; other values have a panel each, behind them."""

STYLES = ("-", "--", ":", "-.")
MARKERS = "osD^vP*X"


class Point(NamedTuple):
    """A value, the iteration it is of, and the same in the run's own terms: 'epoch 3'."""

    iteration: int
    value: float
    when: str


@dataclass(frozen=True)
class Curves:
    """What a run has logged.

    Attributes:
        name: Of the run.
        training: Points in order, by the name of the value.
        validation: The same of validation.
    """

    name: str
    training: Mapping[str, Sequence[Point]]
    validation: Mapping[str, Sequence[Point]]


def read_curves(work_dir: Path, name: str | None = None) -> Curves:
    """All that was logged in a working directory, or in the folder of one of its starts.

    A run that was resumed has a log for each start. From where a later one begins, the earlier ones
    do not count: that part was trained again. So does a run from the beginning replace them all.

    Args:
        work_dir: The directory.
        name: Of the run, if not the directory's.

    Raises:
        UserError: Nothing has been logged there.
    """
    files = sorted(work_dir.glob(f"*/{LOG}")) or [
        file for file in (work_dir / LOG,) if file.is_file()
    ]
    lines: list[tuple[Point, bool, dict[str, Any]]] = []
    for file in files:
        later = list(_located(file))
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
            " got beyond its first logged iteration"
        )
    return Curves(name or work_dir.resolve().name, *curves)


def run_names(work_dirs: Sequence[Path]) -> list[str]:
    """Names of runs: of their folders, with those above as far as it takes to tell them apart."""
    parts = [path.resolve().parts for path in work_dirs]
    length = 1
    while len({part[-length:] for part in parts}) < len(set(parts)):
        length += 1
    return ["/".join(part[-length:]) for part in parts]


def choose_keys(runs: Sequence[Curves], patterns: Sequence[str] | None) -> list[str]:
    """Names of the values to plot.

    Args:
        runs: Some of which have them.
        patterns: Such as 'loss' or 'coco/*'; None for losses (of several runs the total), learning
            rate and the scores that the task is known by.

    Raises:
        UserError: No run has such a value.
    """
    training = list(dict.fromkeys(key for run in runs for key in run.training))
    validation = list(dict.fromkeys(key for run in runs for key in run.validation))
    available = list(dict.fromkeys(training + validation))
    if patterns is None:
        usual = {score for task in TASKS.values() for score in task.scores}
        timing = {"time", "data_time", "memory"}
        scores = [key for key in validation if key in usual] or [
            key for key in validation if key not in timing
        ]
        losses = [key for key in training if "loss" in key]
        if len(runs) > 1 and "loss" in losses:
            losses = ["loss"]
        return list(dict.fromkeys([*losses, *(key for key in training if key == "lr"), *scores]))
    for pattern in patterns:
        if not any(fnmatch(key, pattern) for key in available):
            raise UserError(
                f"nothing called {pattern!r} was logged; there is {', '.join(available)}"
            )
    return [key for key in available if any(fnmatch(key, pattern) for pattern in patterns)]


def plot_curves(runs: Sequence[Curves], keys: Sequence[str], path: Path) -> None:
    """Panels of training losses, learning rate and validation scores over iterations.

    Runs differ by colour if there are several, else values do.

    Args:
        runs: What is compared.
        keys: Names of values.
        path: Picture to write.

    Raises:
        UserError: There is nothing to plot, or it cannot be written.
    """
    panels: dict[str, list[tuple[str, Sequence[Point], int, int]]] = {name: [] for name in PANELS}
    for (run_index, run), (index, key) in product(enumerate(runs), enumerate(keys)):
        for curves, is_validation in ((run.training, False), (run.validation, True)):
            if key in curves:
                panel = panels.setdefault(_panel_of(key, is_validation), [])
                label = key if len(runs) == 1 else f"{run.name}: {key}"
                colour, style = (index, 0) if len(runs) == 1 else (run_index, index)
                panel.append((label, curves[key], colour, style))
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
                # A single point has no line.
                marker=MARKERS[style % len(MARKERS)] if len(points) < 50 else None,
                markersize=3,
            )
        axes.set(xlabel="iteration", title=title)
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
    try:
        save()
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write {path}: {error}") from error


def summarize(runs: Sequence[Curves], keys: Sequence[str]) -> list[Row]:
    """The best and the last of each validation score, and of the training losses."""
    rows: list[Row] = []
    for run, key in product(runs, keys):
        for where, curves in (("validation", run.validation), ("training", run.training)):
            lower = any(part in key for part in LOWER_IS_BETTER)
            if key not in curves or (where == "training" and not lower):
                continue
            points = curves[key]
            pick = min if lower else max
            finite = [point for point in points if point.value == point.value] or points
            best = pick(finite, key=lambda point: point.value)
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


def _panel_of(key: str, is_validation: bool) -> str:
    if is_validation:
        return "validation"
    if "loss" in key:
        return "training loss"
    return "learning rate" if key.endswith("lr") else key


def _located(file: Path) -> Iterator[tuple[Point, bool, dict[str, Any]]]:
    """Lines of a log: where each belongs, whether it is of training, and its values.

    Lines of validation count epochs, or they may, in trainings by iterations too, where it means
    nothing: they belong behind the line of training before them.
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
        else:
            iteration = iteration if by_epoch else max(iteration, step)
        when = f"iteration {iteration}"
        if by_epoch:
            when = f"epoch {values['epoch'] if training else step}"
        yield Point(iteration, 0.0, when), training, values
