#!/usr/bin/env python
"""Predict on images, folders, videos or a camera with a model of any task, and draw it.

Examples:
  tools/infer.py upernet_uniformer_s_global street.jpg
  tools/infer.py configs/det/mask_rcnn_uniformer_s.py photos/ --checkpoint epoch_12.pth
  tools/infer.py td_hm_uniformer_s_256x192 run.mp4 --detector DETECTOR.py DETECTOR.pth
  tools/infer.py uniformer_s_16x8_k400 clips/ --device cuda --batch-size 4
  tools/infer.py configs/det/mask_rcnn_uniformer_s.py 0 --checkpoint epoch_12.pth --show

Written are OUT/predictions.json (objects and people in COCO's format), OUT/pictures/NAME.png or
NAME.mp4 and, in segmentation, OUT/labels/NAME.png with the class of every pixel. OUT must be new
or empty; with --overwrite files of the same names are replaced and others left alone.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from math import ceil
from pathlib import Path

import cv2
from rich.console import Console
from rich.progress import track

from uniformer_mm import Inferencer
from uniformer_mm.apis.cli import add_model_arguments, run_tool
from uniformer_mm.apis.inference import CAMERA_CLIP
from uniformer_mm.apis.memory import keep_freed_memory
from uniformer_mm.datasets.finding import check_paths
from uniformer_mm.datasets.media import MAX_PIXELS, ImageFile, Video
from uniformer_mm.errors import UserError, listing, printable
from uniformer_mm.visualization.prediction import Prediction
from uniformer_mm.visualization.result_folder import PredictionFolder, check_unused

INTERRUPTED = 130
"""Exit status after Ctrl-C, except with a camera, where that is the way to end."""

ESCAPE = 27
WINDOW = "uniformer-mm: q ends"


def main() -> None:
    """Parse the command line, predict and write."""
    arguments = make_parser().parse_args()
    keep_freed_memory()
    if arguments.show:
        check_display()
    if not arguments.overwrite:
        check_unused(arguments.out)
    check_paths(arguments.inputs)  # what is not there is said before the model is built
    inferencer = build(arguments)
    sources = inferencer.find(arguments.inputs, arguments.frames)
    faults: list[UserError] = []
    stream = inferencer.stream(sources, arguments.clip_length, faults)
    total = count_predictions(sources, inferencer.task.takes_clips, arguments.clip_length)
    interrupted = False
    with PredictionFolder(
        arguments.out, inferencer.task.prediction_type, inferencer.meta, sources
    ) as folder:
        try:
            console = Console(stderr=True)
            for prediction in track(stream, "predicting", total, console=console):
                folder.add(prediction)
                if arguments.show and not show(prediction):
                    break
        except KeyboardInterrupt:
            interrupted = total is not None
    print(f"{len(folder)} predictions in {printable(str(folder.path))}")
    if left_out := {kind: count for kind, count in sources.skipped.items() if count}:
        counts = ", ".join(f"{count} {printable(kind)}" for kind, count in left_out.items())
        print(f"skipped in folders: {counts}")
    if faults:
        raise UserError(f"not predicted ({len(faults)}):\n{listing(faults)}")
    if interrupted:
        sys.exit(INTERRUPTED)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="config file, or name of a model of the zoo")
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="image, video, folder (with those below it), or number of a camera; models of images"
        " see videos frame by frame",
    )
    parser.add_argument(
        "--frames",
        action="store_true",
        help="take a folder of images for the frames of a video; video recognition knows folders of"
        " numbered images (img_00001.jpg)",
    )
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=MAX_PIXELS,
        metavar="N",
        help=f"do not decode images of more pixels ({MAX_PIXELS})",
    )
    add_model_arguments(parser, out=Path("predictions"))
    parser.add_argument(
        "--threshold",
        type=float,
        help="least score of an object (0.3), of a joint (0.3), of a class (0)",
    )
    parser.add_argument("--batch-size", type=int, default=1, help="inputs at once (1)")
    parser.add_argument("--fuse", action="store_true", help="fold what can be folded: quicker")
    parser.add_argument(
        "--classes",
        metavar="NAMES",
        help="a file with a class name per line; or kinetics400, kinetics600, sthv1, sthv2, ucf101,"
        " hmdb51 in the order of the authors' checkpoints",
    )
    people = parser.add_mutually_exclusive_group()
    people.add_argument(
        "--boxes",
        metavar="FILE.json",
        help='pose: where people are, as {"image.jpg": [[x1, y1, x2, y2], ...]} or in COCO\'s'
        " format, e.g. a detector's predictions.json; by default an image is one person",
    )
    people.add_argument(
        "--detector",
        nargs="+",
        metavar=("MODEL", "CHECKPOINT"),
        help="pose: find people with a detector that knows the class 'person'",
    )
    parser.add_argument(
        "--clip-length",
        type=int,
        metavar="FRAMES",
        help="video recognition: judge every so many frames by themselves (a whole file, or"
        f" {CAMERA_CLIP} frames of a camera)",
    )
    parser.add_argument("--show", action="store_true", help="show pictures in a window; q ends")
    return parser


def build(arguments: argparse.Namespace) -> Inferencer:
    """The model of the arguments, and maybe the detector before it."""
    people = arguments.boxes
    if arguments.detector:
        if len(arguments.detector) > 2:
            raise UserError("--detector takes MODEL [CHECKPOINT]")
        people = Inferencer(*arguments.detector, device=arguments.device)
    return Inferencer(
        arguments.model,
        arguments.checkpoint,
        device=arguments.device,
        batch_size=arguments.batch_size,
        threshold=arguments.threshold,
        classes=arguments.classes,
        people=people,
        fused=arguments.fuse,
        random_weights=arguments.random_weights,
        cfg_options=arguments.cfg_options,
        max_pixels=arguments.max_pixels,
    )


def count_predictions(
    sources: Sequence[ImageFile | Video], takes_clips: bool, clip_length: int | None
) -> int | None:
    """How many there will be, as far as files say it; None if there is a camera."""
    total = 0
    for source in sources:
        if isinstance(source, ImageFile):
            total += 1
        elif source.length is None:
            return None
        elif takes_clips:
            total += ceil(source.length / clip_length) if clip_length else 1
        else:
            total += source.length
    return total


def check_display() -> None:
    """OpenCV ends the process where it finds no display.

    Raises:
        UserError: There is none.
    """
    displays = ("DISPLAY", "WAYLAND_DISPLAY")
    if sys.platform == "linux" and not any(os.environ.get(name) for name in displays):
        raise UserError("--show needs a display: leave it out, and look at OUT/pictures")


def show(prediction: Prediction) -> bool:
    """Show a picture: an image until a key is pressed, a frame for a moment.

    Returns:
        Whether to go on.
    """
    cv2.imshow(WINDOW, prediction.draw())
    key = cv2.waitKey(0 if prediction.source.video is None else 1)
    return key & 0xFF not in (ord("q"), ESCAPE)


if __name__ == "__main__":
    run_tool(main)
