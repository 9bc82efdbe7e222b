#!/usr/bin/env python
"""Evaluate models of the zoo on the benchmarks whose datasets are present, into one table.

Existing results in the folder are reused: run an interrupted command again to continue it.

Examples:
  tools/benchmark_zoo.py zoo_scores --tasks seg
  tools/benchmark_zoo.py zoo_scores --models uniformer_s_in1k uniformer_b_in1k --gpus 8
  tools/benchmark_zoo.py zoo_scores --checkpoints downloaded
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from uniformer_mm.apis.cli import run_tool
from uniformer_mm.apis.test import Row
from uniformer_mm.checkpoints.zoo import ZooModel, list_models
from uniformer_mm.errors import UserError

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Parse the command line, evaluate the models, and write the table."""
    models = {model.name: model for model in list_models(ROOT) if model.metrics}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder", type=Path, help="output folder for scores, logs and the table README.md"
    )
    parser.add_argument("--models", nargs="+", metavar="NAME", help="(all)")
    tasks = sorted({model.task for model in models.values()})
    parser.add_argument("--tasks", nargs="+", choices=tasks, help="(all)")
    parser.add_argument(
        "--checkpoints",
        type=Path,
        metavar="FOLDER",
        help="use NAME.pth or NAME-HASH.pth in a folder instead of downloads",
    )
    parser.add_argument("--gpus", type=int, default=1, help="processes per evaluation (1)")
    parser.add_argument(
        "--test-options",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="OPTION",
        help="all following options are passed to tools/test.py, such as --fuse",
    )
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.models or ()) - set(models))
    if unknown:
        raise UserError(f"--models: no published model in the zoo: {', '.join(unknown)}")
    chosen = [models[name] for name in arguments.models or models]
    chosen = [model for model in chosen if model.task in (arguments.tasks or tasks)]

    arguments.folder.mkdir(parents=True, exist_ok=True)
    lines = ["| model | score | measured | published | difference |", "|" + " --- |" * 5]
    failed = False
    for number, model in enumerate(chosen, 1):
        print(f"[{number}/{len(chosen)}] {model.name}: ", end="", flush=True)
        remark = evaluate(model, arguments)
        print(remark)
        failed |= remark.startswith("failed")
        scores = scores_path(model, arguments)
        lines += [
            f"| {model.name} | {name} | {ours:.2f} | {theirs:.2f} | {ours - theirs:+.2f} |"
            for name, ours, theirs in read_rows(scores)
        ] or [f"| {model.name} | {remark} | | | |"]
    table = arguments.folder / "README.md"
    table.write_text("\n".join(lines) + "\n")
    print(f"The table is in {table}")
    sys.exit(int(failed))


def evaluate(model: ZooModel, arguments: argparse.Namespace) -> str:
    """Write the scores of a model if there are none; a remark for the table."""
    scores = scores_path(model, arguments)
    if scores.exists():
        return "evaluated before"
    checkpoint = find_checkpoint(model, arguments.checkpoints)
    if checkpoint is None:
        return "no public direct download"
    launcher: list[str] = []
    if arguments.gpus > 1:
        port = os.environ.get("PORT", "29500")
        launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={arguments.gpus}"]
        launcher += [f"--master_port={port}"]
    work_dir = arguments.folder / "work_dirs" / model.name
    command = [
        *(sys.executable, *launcher, str(ROOT / "tools" / "test.py")),
        *(str(ROOT / model.config), checkpoint),
        *("--work-dir", str(work_dir), "--scores", str(scores)),
        *(["--launcher", "pytorch"] if launcher else []),
        *arguments.test_options,
    ]
    log = arguments.folder / f"{model.name}.log"
    with log.open("w") as file:
        result = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False)
    if result.returncode == 0 and scores.exists():
        return "evaluated"
    if "the dataset is missing" in log.read_text():
        return "the dataset is missing"
    return f"failed, see {log}"


def scores_path(model: ZooModel, arguments: argparse.Namespace) -> Path:
    """The file for the scores of a model."""
    return arguments.folder / f"{model.name}.json"


def read_rows(scores: Path) -> list[Row]:
    """Names, measured and published values of scores."""
    if not scores.exists():
        return []
    return [tuple(row) for row in json.loads(scores.read_text())["beside_published"]]


def find_checkpoint(model: ZooModel, folder: Path | None) -> str | None:
    """A file in the folder, the name of the public download, or None."""
    if folder is not None:
        if not folder.is_dir():
            raise UserError(f"--checkpoints {folder}: no such folder")
        for file in (*folder.glob(f"{model.name}.pth"), *folder.glob(f"{model.name}-*.pth")):
            return str(file)
    return model.name if model.weights else None


if __name__ == "__main__":
    run_tool(main)
