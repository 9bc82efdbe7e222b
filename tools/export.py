#!/usr/bin/env python
"""Export a model, or a part of it, to ONNX or torch.export, and check the file.

Examples:
  tools/export.py upernet_uniformer_s_global --out upernet.onnx
  tools/export.py configs/pose/td_hm_uniformer_s_256x192.py epoch_210.pth --fuse
  tools/export.py configs/det/mask_rcnn_uniformer_s.py epoch_12.pth --data val2017 val2017.json
  tools/export.py configs/det/mask_rcnn_uniformer_s.py epoch_12.pth --part neck
  tools/export.py configs/video/uniformer_s_16x4_k400.py epoch_110.pth --format torch
  tools/export.py configs/cls/uniformer_s_in1k.py --random-weights --static --size 384 384
  tools/export.py configs/cls/uniformer_s_in1k.py CHECKPOINT --int8 IMAGE_FOLDER --score

The file takes batches and inputs of any size from 32 x 32 pixels on, unless --static is given. Its
inputs are normalized; mean, std and the order of the channels are in its metadata. Outputs of the
file and the model are compared at several sizes; the exit status is 2 if they differ. A whole
detector takes one image; its detections are compared on images, with AP if they are annotated.
"""

import argparse
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import DictAction

from uniformer_mm import Inferencer
from uniformer_mm.analysis.report import as_text
from uniformer_mm.analysis.timing import interleave
from uniformer_mm.apis.cli import run_tool
from uniformer_mm.apis.config import SYNTHETIC_FOLDER
from uniformer_mm.datasets.finding import check_paths
from uniformer_mm.errors import UserError
from uniformer_mm.export.checking import check_sizes, differences
from uniformer_mm.export.detector import MASKS
from uniformer_mm.export.files import (
    INPUT,
    SUFFIXES,
    Run,
    as_onnx,
    check_packages,
    metadata,
    runner,
    runners,
    write,
    write_onnx,
)
from uniformer_mm.export.graph import PARTS, Part, exportable, trace
from uniformer_mm.export.pictures import PICTURE, around, surround
from uniformer_mm.export.proof import MIN_SCORE, Match, Proof, picture_differences
from uniformer_mm.export.quantize import MAX_LOSS, calibration_inputs, quantize, substitute
from uniformer_mm.export.scoring import score
from uniformer_mm.models.bf16 import to_bf16
from uniformer_mm.models.fuse import fuse
from uniformer_mm.torch_internals import has_fast_bf16


def main() -> None:
    """Parse the command line, export, check and measure."""
    arguments = make_parser().parse_args()
    check_packages(arguments.format)
    check_int8(arguments)
    path = out_path(arguments)
    inferencer = Inferencer(
        arguments.model,
        arguments.checkpoint,
        device="cpu",
        random_weights=arguments.random_weights,
        cfg_options=arguments.cfg_options,
    )
    if arguments.preprocess and (arguments.format, arguments.static) != ("onnx", False):
        raise UserError("--preprocess is for --format onnx without --static")
    steps = inferencer.task.inference_pipeline(inferencer.cfg)
    # Pasted by the graph after that of the model, into the picture.
    masks = "box" if arguments.preprocess else arguments.masks
    part = Part(inferencer.model, inferencer.task, arguments.part, masks).eval()
    if arguments.preprocess:
        around(part, steps, arguments.masks)
    if part.detector and arguments.int8:
        raise UserError("--int8 of a detector quantizes its backbone and neck: add --part neck")
    proof = None
    if part.detector:
        cache = SYNTHETIC_FOLDER
        proof = Proof(
            inferencer,
            arguments.masks,
            arguments.data,
            arguments.images or None,
            cache,
            arguments.preprocess,
        )
    elif arguments.data:
        raise UserError(
            "--data is for whole detectors; other outputs are compared on random inputs"
        )
    sizes = part.sizes(inferencer.input_shape(), arguments.size, arguments.frames)
    ready = exportable(part, arguments.fuse)

    start = time.perf_counter()
    program = trace(ready, sizes, dynamic=not arguments.static)
    names = part.output_names(len(program.graph_signature.user_outputs))
    facts = metadata(part, sizes, inferencer.meta, inferencer.cfg.filename or "", steps)
    described = f"inputs ({', '.join(part.axes)}) to {', '.join(names)}"
    if arguments.preprocess:
        main = as_onnx(program, [INPUT], names, part.axes)
        model = surround(main, part, steps, arguments.masks)
        facts["masks"] = arguments.masks
        write_onnx(model, path, facts)
        results = ", ".join(value.name for value in model.graph.output)
        described = f"{PICTURE} (height, width, 3), uint8, BGR, to {results}"
    else:
        write(program, path, part.axes, names, facts)
    print(
        f"{path} ({path.stat().st_size / 1e6:.1f} MB) after {time.perf_counter() - start:.0f} s:"
        f" {described}"
    )
    exported = runners(path)
    for name, run in exported.items():
        if proof:
            if not arguments.static:
                prove(proof, run, name)
            if not arguments.preprocess:
                several = [sizes] if arguments.static else check_sizes(sizes, part.window_size)
                shapes = [(entry["height"], entry["width"]) for entry in several]
                match = proof.at_sizes(without_gradients(part), run, shapes)
                print(
                    f"{name} on an image of the sizes"
                    f" {', '.join(f'{height} x {width}' for height, width in shapes)}:"
                    f" {match.matched} of {match.expected} detections match"
                )
                refuse_missing(match)
        elif arguments.preprocess:
            check_pictures(inferencer, run, name)
        else:
            check(arguments, part, without_gradients(part), run, sizes, name)
    if arguments.rounds > 0 and not arguments.preprocess:
        modules = {"eager": part, **({"fused": fuse(part)} if arguments.fuse else {})}
        runs = {name: without_gradients(module) for name, module in modules.items()}
        # Noise has few detections, and the time of a detector depends on their number.
        seen = proof if proof and not arguments.static else None
        x = seen.example() if seen else torch.randn(part.shape(sizes))
        measure({**runs, **exported}, x, arguments.rounds)
    if arguments.int8:
        quantize_and_compare(arguments, path, inferencer, part, part.shape(sizes))


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="config file, or name of a model of the zoo")
    parser.add_argument(
        "checkpoint",
        nargs="?",
        help="file, URL, hf://OWNER/REPOSITORY/FILE, or zoo name (a zoo model's published weights)",
    )
    parser.add_argument(
        "--random-weights", action="store_true", help="run without a checkpoint, for a trial"
    )
    parser.add_argument(
        "--format",
        choices=list(SUFFIXES),
        default="onnx",
        help="ONNX, or a .pt2 file of torch.export (onnx)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="(MODEL.onnx or MODEL.pt2, here)")
    parser.add_argument(
        "--part",
        choices=PARTS,
        default="model",
        help="backbone, neck (backbone and neck), or model (model)",
    )
    parser.add_argument(
        "--preprocess",
        action="store_true",
        help="take a picture (H, W, 3), uint8, BGR, and give results in its pixels: the test"
        " pipeline is in the file",
    )
    parser.add_argument(
        "--masks",
        choices=MASKS,
        default="image",
        help="of a detector: binary (N, height, width), or probabilities on a grid in the box"
        " (image)",
    )
    parser.add_argument(
        "--data",
        nargs=2,
        metavar=("FOLDER", "ANN.json"),
        help="images in COCO's format on which a detector and its file are compared (the config's"
        " test data, or drawn images without AP)",
    )
    parser.add_argument(
        "--images", type=int, default=50, help="number of these images, 0 for all (50)"
    )
    parser.add_argument(
        "--fuse",
        action="store_true",
        help="fold BatchNorm and layer scale into the weights for faster inference",
    )
    parser.add_argument(
        "--int8",
        type=Path,
        metavar="FOLDER",
        help="also write NAME_int8.onnx, with the ranges of activations from the images of a folder"
        " (with --fuse)",
    )
    parser.add_argument(
        "--score",
        action="store_true",
        help="with --int8: test the model in fp32, bf16 and int8 on the test data of the config",
    )
    parser.add_argument(
        "--size",
        nargs=2,
        type=int,
        metavar=("HEIGHT", "WIDTH"),
        help="of the example in pixels (output of the test pipeline for 640 x 480 pixels)",
    )
    parser.add_argument("--frames", type=int, help="of the example's clip, or TSN's segments")
    parser.add_argument(
        "--static", action="store_true", help="take inputs of the example's size only"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-3,
        help="accepted difference in standard deviations of an output (0.001)",
    )
    parser.add_argument(
        "--rounds", type=int, default=7, help="timed calls of each; 0 for no timing (7)"
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help="override settings of the config",
    )
    return parser


def check_int8(arguments: argparse.Namespace) -> None:
    """Check the options of quantization, and switch on what it includes.

    Raises:
        UserError: They exclude others, or the folder does not exist.
    """
    if arguments.score and not (arguments.int8 and arguments.checkpoint):
        raise UserError("--score is for --int8 and a checkpoint")
    if not arguments.int8:
        return
    if arguments.format != "onnx" or arguments.preprocess:
        raise UserError("--int8 is for --format onnx without --preprocess")
    check_paths([arguments.int8])
    arguments.fuse = True


def out_path(arguments: argparse.Namespace) -> Path:
    """The file to write.

    Raises:
        UserError: Its suffix is that of another format.
    """
    suffix = SUFFIXES[arguments.format]
    path = arguments.out or Path(Path(arguments.model).stem + suffix)
    if path.suffix != suffix:
        raise UserError(f"--out {path}: files of --format {arguments.format} end with {suffix}")
    return path


def without_gradients(module: Part) -> Run:
    """A module as a function of its input."""
    return torch.no_grad()(module.forward)


def check(
    arguments: argparse.Namespace,
    part: Part,
    eager: Run,
    exported: Run,
    sizes: Mapping[str, int],
    name: str,
) -> None:
    """Compare outputs of a file with those of the model.

    Raises:
        UserError: They differ.
    """
    several = [sizes] if arguments.static else check_sizes(sizes, part.window_size)
    print(f"largest difference of {name} from the model:")
    failed = []
    for found in differences(eager, exported, [part.shape(entry) for entry in several]):
        shape = " x ".join(map(str, found.shape))
        print(f"  {shape:>24}  {found.absolute:.1e}  ({found.relative:.1e} standard deviations)")
        if not found.relative <= arguments.tolerance:
            failed.append(found.shape)
    if failed:
        raise UserError(
            f"outputs of the file differ from those of the model at {failed[0]}: do not use it, or"
            " increase --tolerance if the difference is small"
        )


def check_pictures(inferencer: Inferencer, exported: Run, name: str) -> None:
    """Compare results for drawn pictures of several sizes with those of the Inferencer.

    Raises:
        UserError: They differ.
    """
    worst = 0.0
    for shape, difference in picture_differences(inferencer, exported):
        print(f"  {name}, picture of {shape[1]} x {shape[0]}: {difference:.1e} differ")
        worst = max(worst, difference)
    if worst > 0.01:
        raise UserError(f"results of {name} are not those of the Inferencer: do not use the file")


def prove(proof: Proof, exported: Run, name: str) -> None:
    """Compare detections of a file with those of the model.

    Raises:
        UserError: More than one of a hundred is missing.
    """
    match, scores = proof(exported)
    print(f"{name} on {len(proof.dataset)} images:")
    print(as_text(match.rows()))
    if scores:
        print(as_text(scores))
    if not match.expected:
        print(f"no detection has a score of {MIN_SCORE}: this proves little; use trained weights")
    refuse_missing(match)


def refuse_missing(match: Match) -> None:
    """Stop if the file lacks detections of the model.

    Raises:
        UserError: More than one of a hundred is missing.
    """
    if match.matched < 0.99 * match.expected:
        raise UserError(
            f"{match.expected - match.matched} of {match.expected} detections of the model are not"
            " in the file: do not use it"
        )


def quantize_and_compare(
    arguments: argparse.Namespace,
    path: Path,
    inferencer: Inferencer,
    part: Part,
    shape: tuple[int, ...],
) -> None:
    """Write the int8 file, and print size, speed and score of fp32, bf16 and int8.

    Raises:
        UserError: The int8 file loses more of a score than `MAX_LOSS`.
    """
    target = path.with_name(f"{path.stem}_int8.onnx")
    quantize(path, target, calibration_inputs(inferencer, arguments.int8))
    quantized = runner(target)
    half = to_bf16(part)
    x = torch.randn(shape)
    runs = {"fp32": partial(runner(path), x), "bf16": partial(without_gradients(half), x)}
    if not has_fast_bf16():
        del runs["bf16"]
    runs["int8"] = partial(quantized, x)
    sizes = {"fp32": path.stat().st_size, "bf16": num_bytes(half), "int8": target.stat().st_size}
    timings = interleave(runs, torch.device("cpu"), max(arguments.rounds, 1))
    scores: dict[str, dict[str, float]] = {name: {} for name in runs}
    if arguments.score:

        def in_int8(model: Any) -> Any:
            substitute(model, arguments.part, quantized)
            return model

        changes = {"fp32": lambda model: model, "bf16": to_bf16, "int8": in_int8}
        changes = {name: changes[name] for name in runs}
        options = arguments.cfg_options
        scores = score(arguments.model, arguments.checkpoint, changes, options)
    rows = []
    for name, timing in timings.items():
        ratio, low, high = timing.speedup(timings["fp32"])
        row = {
            "variant": name,
            "MB": f"{sizes[name] / 1e6:.1f}",
            "median ms": f"{timing.median * 1e3:.1f}",
            "times faster than fp32": f"{ratio:.2f} ({low:.2f} to {high:.2f})",
        }
        rows.append(row | {key: f"{value:.2f}" for key, value in scores[name].items()})
    print(f"{target}: {part.part} in int8; bf16 is the fused model in PyTorch")
    print(as_text(rows))
    for key, value in scores["fp32"].items():
        if scores["int8"][key] < value * (1 - MAX_LOSS):
            raise UserError(
                f"{target} loses more than {MAX_LOSS:.0%} of {key}: do not use it, or calibrate on"
                " other images"
            )


def num_bytes(part: Any) -> int:
    """Size of the weights of a part."""
    names = {"backbone": ["backbone"], "neck": ["backbone", "neck"]}.get(part.part, [""])
    modules = [part.model.get_submodule(name) for name in names]
    return sum(weight.nbytes for module in modules for weight in module.state_dict().values())


def measure(runs: Mapping[str, Run], x: torch.Tensor, rounds: int) -> None:
    """Time the model and the file in turns."""
    functions = {name: partial(run, x) for name, run in runs.items()}
    timings = interleave(functions, torch.device("cpu"), rounds)
    rows = []
    for name, timing in timings.items():
        ratio, low, high = timing.speedup(timings["eager"])
        rows.append(
            {
                "variant": name,
                "median ms": f"{timing.median * 1e3:.1f}",
                "times faster than eager": f"{ratio:.2f} ({low:.2f} to {high:.2f})",
            }
        )
    threads = torch.get_num_threads()
    print(f"speed at {' x '.join(map(str, x.shape))} with {threads} CPU threads, in turns:")
    print(as_text(rows))


if __name__ == "__main__":
    run_tool(main)
