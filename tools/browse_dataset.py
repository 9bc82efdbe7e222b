#!/usr/bin/env python
"""Visualize samples with their ground truth as a model gets them: augmented, padded, mixed.

Examples:
  tools/browse_dataset.py configs/det/mask_rcnn_uniformer_s.py --synthetic
  tools/browse_dataset.py configs/det/mask_rcnn_uniformer_s.py --coco IMAGES TRAIN.json --count 50
  tools/browse_dataset.py configs/video/uniformer_s_16x4_k400.py --split val --out validation

The output files are OUT/000_NAME.png and so on.
"""

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import track

from uniformer_mm.analysis.dataset_samples import browse
from uniformer_mm.apis.cli import add_data_arguments, run_tool
from uniformer_mm.apis.config import prepare_config
from uniformer_mm.datasets.media import write_image
from uniformer_mm.datasets.overrides import SPLITS
from uniformer_mm.errors import UserError
from uniformer_mm.visualization.result_folder import check_unused


def main() -> None:
    """Parse the command line and write the images."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_arguments(parser)
    parser.add_argument("--split", choices=SPLITS, default="train", help="(train)")
    parser.add_argument("--count", type=int, default=16, help="number of samples (16)")
    parser.add_argument("--seed", type=int, default=0, help="of choice and augmentation (0)")
    parser.add_argument("--out", type=Path, default=Path("samples"), help="output folder (samples)")
    parser.add_argument(
        "--overwrite", action="store_true", help="write into a folder that is not empty"
    )
    arguments = parser.parse_args()
    if arguments.count < 1:
        raise UserError(f"--count must be at least 1, not {arguments.count}")
    if not arguments.overwrite:
        check_unused(arguments.out)
    cfg = prepare_config(arguments, splits=(arguments.split,))
    samples = browse(cfg, arguments.split, arguments.count, arguments.seed)
    number = 0
    for name, image in track(samples, "drawing", arguments.count, console=Console(stderr=True)):
        write_image(arguments.out / f"{name}.png", image)
        number += 1
    print(f"{number} images in {arguments.out}")


if __name__ == "__main__":
    run_tool(main)
