#!/usr/bin/env python
"""Visualize a model: attention of a token, kept tokens, feature maps, kernels of local blocks.

Examples:
  tools/look_inside.py attention upernet_uniformer_s_global street.jpg --point 320 200
  tools/look_inside.py attention configs/video/uniformer_s_8x8_k400.py run.mp4 --checkpoint c.pth
  tools/look_inside.py tokens uniformer_xxs_160_in1k photos/ --blocks all
  tools/look_inside.py features mask_rcnn_uniformer_s_3x_ms street.jpg --blocks 2.4 3.8 4.3
  tools/look_inside.py affinity upernet_uniformer_s_global

attention  attention of one token in blocks of stages 3 and 4; tokens that it does not attend to
           are dark and grey: other windows, or tokens that a lightweight model has dropped
tokens     tokens that a lightweight model keeps in blocks of stages 3 and 4, and their scores
features   outputs of blocks: three principal components as colours, and their magnitude
affinity   depthwise kernels of blocks of stages 1 and 2, which do not depend on the input

Blocks are named STAGE.NUMBER, both counted from 1. The default is the first and the last of each
stage: with hybrid attention, in stage 3, a windowed and a global one. The output files are
OUT/NAME.png, for videos OUT/NAME.mp4, and OUT/affinity.png.
"""

import argparse
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.progress import track

from uniformer_mm import Inferencer
from uniformer_mm.analysis.feature_maps import (
    VIEWS,
    FeatureVisualizer,
    save_visualizations,
    visualize_kernels,
)
from uniformer_mm.apis.cli import add_model_arguments, run_tool
from uniformer_mm.datasets.finding import check_paths
from uniformer_mm.datasets.media import write_image
from uniformer_mm.errors import UserError
from uniformer_mm.visualization.result_folder import check_unused


def main() -> None:
    """Parse the command line, and write the visualizations."""
    arguments = make_parser().parse_args()
    if arguments.view == "affinity" and arguments.inputs:
        raise UserError("affinity does not depend on the input: leave INPUT out")
    if arguments.view != "affinity" and not arguments.inputs:
        raise UserError(f"{arguments.view} needs an INPUT: an image, a video or a folder")
    if arguments.columns is not None and arguments.columns < 1:
        raise UserError(f"--columns must be at least 1, not {arguments.columns}")
    if not arguments.overwrite:
        check_unused(arguments.out)
    check_paths(arguments.inputs)  # before the model is built, which takes longer
    inferencer = Inferencer(
        arguments.model,
        arguments.checkpoint,
        device=arguments.device,
        random_weights=arguments.random_weights,
        cfg_options=arguments.cfg_options,
    )
    if arguments.view == "affinity":
        path = arguments.out / "affinity.png"
        write_image(path, visualize_kernels(inferencer, arguments.blocks, arguments.columns))
        print(f"kernels in {path}")
        return
    names = ("point", "frame", "class_token", "head", "columns")
    options = {name: getattr(arguments, name) for name in names}
    visualizer = FeatureVisualizer(inferencer, arguments.view, arguments.blocks, **options)
    sources = inferencer.find(arguments.inputs)
    written = save_visualizations(
        visualizer.visualize(sources), sources, arguments.out, arguments.frames
    )
    # A video's file comes once for each of its frames.
    for path, _ in groupby(track(written, "visualizing", console=Console(stderr=True))):
        print(path)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("view", choices=VIEWS, help="what to visualize")
    parser.add_argument("model", help="config file, or name of a model of the zoo")
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="image, video or folder; image models predict videos frame by frame",
    )
    add_model_arguments(parser, out=Path("inside"))
    parser.add_argument("--blocks", nargs="+", metavar="STAGE.NUMBER", help="or 'all'")
    parser.add_argument(
        "--point",
        nargs=2,
        type=float,
        metavar=("X", "Y"),
        help="attention: the token at this pixel of the image (the centre of the model's input)",
    )
    parser.add_argument(
        "--frame",
        type=int,
        metavar="N",
        help="recognizers: the token in this one of the sampled frames, from 0 (the middle one)",
    )
    parser.add_argument(
        "--class-token",
        action="store_true",
        help="lightweight models: attention of the class token",
    )
    parser.add_argument(
        "--head", type=int, metavar="N", help="attention of one head, from 1 (mean of all)"
    )
    parser.add_argument(
        "--columns",
        type=int,
        metavar="N",
        help="panels per row, such as 2 for a column of a paper (up to 5 in rows of about the same"
        " length; affinity: a row per block)",
    )
    parser.add_argument(
        "--frames", action="store_true", help="write frames as OUT/NAME/000000.png, not a video"
    )
    return parser


if __name__ == "__main__":
    run_tool(main)
