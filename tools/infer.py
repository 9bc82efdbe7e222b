#!/usr/bin/env python
"""Predict on images, folders, videos or a camera with a model of any task.

Examples:
  tools/infer.py upernet_uniformer_s_global street.jpg
  tools/infer.py configs/det/mask_rcnn_uniformer_s.py photos/ --checkpoint epoch_12.pth
  tools/infer.py td_hm_uniformer_s_256x192 run.mp4 --detector DETECTOR.py DETECTOR.pth
  tools/infer.py uniformer_s_16x8_k400 clips/ --device cuda --batch-size 4
  tools/infer.py configs/det/mask_rcnn_uniformer_s.py 0 --checkpoint epoch_12.pth --show
  tools/infer.py CONFIG.py aerial_photos/ --checkpoint epoch_12.pth --slice 640 0.2

The output is OUT/predictions.json (objects and poses in COCO format), OUT/pictures/NAME.png or
NAME.mp4 and, in segmentation, OUT/labels/NAME.png with the class of each pixel. OUT must be new or
empty; --overwrite replaces files of the same names and keeps others.
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
from uniformer_mm.apis.cli import (
    INTERRUPTED,
    add_attention_arguments,
    add_dtype_argument,
    add_fuse_argument,
    add_model_arguments,
    run_tool,
)
from uniformer_mm.apis.inference import CAMERA_CLIP
from uniformer_mm.apis.memory import keep_freed_memory
from uniformer_mm.datasets.finding import check_paths
from uniformer_mm.datasets.media import MAX_PIXELS, ImageFile, Video
from uniformer_mm.errors import UserError, listing, printable
from uniformer_mm.visualization.prediction import Prediction
from uniformer_mm.visualization.result_folder import PredictionFolder, check_unused

ESCAPE = 27
WINDOW = "uniformer-mm: q quits"


def main() -> None:
    """Parse the command line, predict and write."""
    arguments = make_parser().parse_args()
    keep_freed_memory()
    if arguments.show:
        check_display()
    if not arguments.overwrite:
        check_unused(arguments.out)
    check_paths(arguments.inputs)  # before the model is built, which takes longer
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
            interrupted = total is not None  # Ctrl-C is the way to stop a camera
    shown = f", score ≥ {inferencer.threshold:g}" if inferencer.threshold else ""
    print(f"{len(folder)} predictions in {printable(str(folder.path))}{shown}")
    if left_out := {kind: count for kind, count in sources.skipped.items() if count}:
        counts = ", ".join(f"{count} {printable(kind)}" for kind, count in left_out.items())
        print(f"skipped in folders: {counts}")
    if faults:
        count = f"{len(faults)} input{'s' if len(faults) > 1 else ''}"
        raise UserError(f"no predictions for {count}:\n{listing(faults)}")
    if interrupted:
        sys.exit(INTERRUPTED)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="config file, or model name from the zoo")
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="image, video, folder (searched recursively), or camera number; image models process"
        " videos frame by frame",
    )
    parser.add_argument(
        "--frames",
        action="store_true",
        help="treat a folder of images as a video; video recognition always does so if they are"
        " numbered (img_00001.jpg)",
    )
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=MAX_PIXELS,
        metavar="N",
        help=f"do not decode images with more pixels (default: {MAX_PIXELS})",
    )
    add_model_arguments(parser, out=Path("predictions"))
    parser.add_argument(
        "--threshold",
        type=float,
        help="score threshold (default: 0.3 for objects and keypoints, 0 for classes)",
    )
    parser.add_argument("--batch-size", type=int, default=1, help="batch size (default: 1)")
    add_attention_arguments(parser)
    parser.add_argument(
        "--slice",
        nargs=2,
        metavar=("SIZE", "OVERLAP"),
        help="large images: detect (through SAHI) or segment in slices of SIZE pixels that overlap"
        " by a fraction, e.g. 640 0.2",
    )
    add_fuse_argument(parser)
    add_dtype_argument(parser)
    parser.add_argument(
        "--classes",
        metavar="NAMES",
        help="file with one class name per line; or kinetics400, kinetics600, sthv1, sthv2, ucf101,"
        " hmdb51 in the order of the official checkpoints",
    )
    persons = parser.add_mutually_exclusive_group()
    persons.add_argument(
        "--boxes",
        metavar="FILE.json",
        help="pose estimation and action detection: person boxes, as"
        ' {"image.jpg": [[x1, y1, x2, y2], ...]} or in COCO format, e.g. the predictions.json of a'
        " detector (default: the whole image)",
    )
    persons.add_argument(
        "--detector",
        nargs="+",
        metavar=("MODEL", "CHECKPOINT"),
        help="pose estimation: detect persons with a detector of the class 'person'",
    )
    parser.add_argument(
        "--clip-length",
        type=int,
        metavar="FRAMES",
        help="video recognition: frames per prediction (default: the whole file, or"
        f" {CAMERA_CLIP} frames of a camera)",
    )
    parser.add_argument("--show", action="store_true", help="show predictions in a window; q quits")
    return parser


def build(arguments: argparse.Namespace) -> Inferencer:
    """The model, and the person detector if there is one."""
    people = arguments.boxes
    if arguments.detector:
        if len(arguments.detector) > 2:
            raise UserError("--detector takes MODEL [CHECKPOINT]")
        people = Inferencer(*arguments.detector, device=arguments.device, dtype=arguments.dtype)
    return Inferencer(
        arguments.model,
        arguments.checkpoint,
        device=arguments.device,
        batch_size=arguments.batch_size,
        threshold=arguments.threshold,
        classes=arguments.classes,
        people=people,
        fused=arguments.fuse,
        slices=read_slices(arguments.slice),
        attention=arguments.attention,
        window_size=arguments.window_size,
        dtype=arguments.dtype,
        random_weights=arguments.random_weights,
        cfg_options=arguments.cfg_options,
        max_pixels=arguments.max_pixels,
    )


def read_slices(words: Sequence[str] | None) -> tuple[int, float] | None:
    """Size and overlap of the slices.

    Raises:
        UserError: They are not numbers.
    """
    if words is None:
        return None
    try:
        return int(words[0]), float(words[1])
    except ValueError as error:
        raise UserError(
            f"--slice takes SIZE OVERLAP, e.g. 640 0.2, got {' '.join(words)}"
        ) from error


def count_predictions(
    sources: Sequence[ImageFile | Video], takes_clips: bool, clip_length: int | None
) -> int | None:
    """Number of predictions, by the lengths in the files; None if there is a camera."""
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
    """Check for a display, without which OpenCV ends the process.

    Raises:
        UserError: There is no display.
    """
    displays = ("DISPLAY", "WAYLAND_DISPLAY")
    if sys.platform == "linux" and not any(os.environ.get(name) for name in displays):
        raise UserError("--show needs a display: remove it, and see OUT/pictures")


def show(prediction: Prediction) -> bool:
    """Show a visualization: an image until a key is pressed, a video frame for a moment.

    Returns:
        Whether to continue.
    """
    cv2.imshow(WINDOW, prediction.draw())
    key = cv2.waitKey(0 if prediction.source.video is None else 1)
    return key & 0xFF not in (ord("q"), ESCAPE)


if __name__ == "__main__":
    run_tool(main)
