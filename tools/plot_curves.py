#!/usr/bin/env python
"""Plot losses, learning rate and validation scores of trainings, and name the best scores.

Examples:
  tools/plot_curves.py work_dirs/mask_rcnn_uniformer_s
  tools/plot_curves.py work_dirs/first work_dirs/second --out compared.png
  tools/plot_curves.py work_dirs/mask_rcnn_uniformer_s --keys loss "coco/*" grad_norm

A training that was resumed is one curve. Runs are told apart by colour.
"""

import argparse
from pathlib import Path

from uniformer_mm.analysis.curves import (
    choose_keys,
    plot_curves,
    read_curves,
    run_names,
    summarize,
)
from uniformer_mm.analysis.report import as_text
from uniformer_mm.apis.cli import run_tool


def main() -> None:
    """Parse the command line, plot and sum up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work_dirs", nargs="+", type=Path, metavar="WORK_DIR")
    parser.add_argument(
        "--keys",
        nargs="+",
        metavar="NAME",
        help="values to plot, * stands for anything (losses, learning rate and the task's scores)",
    )
    parser.add_argument("--out", type=Path, default=Path("curves.png"), help="(curves.png)")
    arguments = parser.parse_args()
    names = run_names(arguments.work_dirs)
    runs = [read_curves(path, name) for path, name in zip(arguments.work_dirs, names, strict=True)]
    keys = choose_keys(runs, arguments.keys)
    plot_curves(runs, keys, arguments.out)
    rows = summarize(runs, keys)
    if rows:
        print(as_text(rows))
    print(f"curves in {arguments.out}")


if __name__ == "__main__":
    run_tool(main)
