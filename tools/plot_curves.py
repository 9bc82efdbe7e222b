#!/usr/bin/env python
"""Plot losses, learning rate and validation scores of training runs, and print the best scores.

Examples:
  tools/plot_curves.py work_dirs/mask_rcnn_uniformer_s
  tools/plot_curves.py work_dirs/first work_dirs/second --out compared.png
  tools/plot_curves.py work_dirs/mask_rcnn_uniformer_s --keys loss "coco/*" grad_norm

A resumed training is one curve. Colours distinguish runs.
"""

import argparse
from pathlib import Path

from uniformer_mm.analysis import curves
from uniformer_mm.analysis.report import as_text
from uniformer_mm.apis.cli import run_tool


def main() -> None:
    """Parse the command line, plot and summarize."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work_dirs", nargs="+", type=Path, metavar="WORK_DIR")
    parser.add_argument(
        "--keys",
        nargs="+",
        metavar="NAME",
        help="values to plot; * matches anything (losses, learning rate and the task's scores)",
    )
    parser.add_argument("--out", type=Path, default=Path("curves.png"), help="(curves.png)")
    arguments = parser.parse_args()
    names = curves.run_names(arguments.work_dirs)
    runs = [
        curves.read_curves(path, name)
        for path, name in zip(arguments.work_dirs, names, strict=True)
    ]
    keys = curves.choose_keys(runs, arguments.keys)
    curves.plot_curves(runs, keys, arguments.out)
    rows = curves.summarize(runs, keys)
    if rows:
        print(as_text(rows))
    print(f"curves in {arguments.out}")


if __name__ == "__main__":
    run_tool(main)
