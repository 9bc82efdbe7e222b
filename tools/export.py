#!/usr/bin/env python
"""Export a model, or a part of it, to ONNX or torch.export, and check the file.

Examples:
  tools/export.py upernet_uniformer_s_global --out upernet.onnx
  tools/export.py configs/pose/td_hm_uniformer_s_256x192.py epoch_210.pth --fuse
  tools/export.py configs/det/mask_rcnn_uniformer_s.py epoch_12.pth --part neck
  tools/export.py configs/video/uniformer_s_16x4_k400.py epoch_110.pth --format torch
  tools/export.py configs/cls/uniformer_s_in1k.py --random-weights --static --size 384 384

The file takes any number of inputs of any size from 32 x 32 pixels on, unless --static is given.
Inputs are normalised beforehand; mean, std and the order of the channels are in its metadata. It is
run beside the model at several sizes: if they do not agree, the exit status is 2.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from mmengine.config import DictAction
from torch import Tensor

from uniformer_mm import Inferencer
from uniformer_mm.apis.cli import run_tool
from uniformer_mm.benchmark.report import as_text
from uniformer_mm.benchmark.timing import interleave
from uniformer_mm.errors import UserError
from uniformer_mm.export.checking import check_sizes, differences
from uniformer_mm.export.files import SUFFIXES, Run, check_packages, metadata, runner, write
from uniformer_mm.export.graph import PARTS, Part, exportable, trace
from uniformer_mm.models.fuse import fuse


def main() -> None:
    """Parse the command line, export, check and measure."""
    arguments = make_parser().parse_args()
    check_packages(arguments.format)
    path = out_path(arguments)
    inferencer = Inferencer(
        arguments.model,
        arguments.checkpoint,
        device="cpu",
        random_weights=arguments.random_weights,
        cfg_options=arguments.cfg_options,
    )
    part = Part(inferencer.model, inferencer.task, arguments.part).eval()
    sizes = part.sizes(inferencer.input_shape(), arguments.size, arguments.frames)
    ready = exportable(part, arguments.fuse)

    start = time.perf_counter()
    program = trace(ready, sizes, dynamic=not arguments.static)
    names = part.output_names(len(program.graph_signature.user_outputs))
    facts = metadata(part, sizes, inferencer.meta, inferencer.cfg.filename or "")
    write(program, path, part.axes, names, facts)
    print(
        f"{path} ({path.stat().st_size / 1e6:.1f} MB) after {time.perf_counter() - start:.0f} s:"
        f" inputs ({', '.join(part.axes)}) to {', '.join(names)}"
    )
    exported = runner(path)
    check(arguments, part, without_gradients(part), exported, sizes)
    if arguments.rounds > 0:
        modules = {"eager": part, **({"fused": fuse(part)} if arguments.fuse else {})}
        runs = {name: without_gradients(module) for name, module in modules.items()}
        name = "onnxruntime" if arguments.format == "onnx" else "exported"
        measure({**runs, name: exported}, part.shape(sizes), arguments.rounds)


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
        "--random-weights", action="store_true", help="do without a checkpoint, to try things out"
    )
    parser.add_argument(
        "--format",
        choices=list(SUFFIXES),
        default="onnx",
        help="ONNX, or torch.export's .pt2 file (onnx)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="(MODEL.onnx or MODEL.pt2, here)")
    parser.add_argument(
        "--part",
        choices=PARTS,
        default="model",
        help="backbone, neck (backbone and neck), or model: up to the output of its head (model)",
    )
    parser.add_argument("--fuse", action="store_true", help="fold what can be folded: quicker")
    parser.add_argument(
        "--size",
        nargs=2,
        type=int,
        metavar=("HEIGHT", "WIDTH"),
        help="of the example in pixels (what the test pipeline makes of 640 x 480)",
    )
    parser.add_argument("--frames", type=int, help="of the example's clip, or TSN's segments")
    parser.add_argument(
        "--static", action="store_true", help="take inputs of the example's size only"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-3,
        help="largest accepted difference in standard deviations of an output (0.001)",
    )
    parser.add_argument(
        "--rounds", type=int, default=7, help="timed calls of each way to run; 0 for none (7)"
    )
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    return parser


def out_path(arguments: argparse.Namespace) -> Path:
    """The file to write.

    Raises:
        UserError: Its name is that of another format.
    """
    suffix = SUFFIXES[arguments.format]
    path = arguments.out or Path(Path(arguments.model).stem + suffix)
    if path.suffix != suffix:
        raise UserError(f"--format {arguments.format} is written to {suffix} files, not to {path}")
    return path


def without_gradients(module: Part) -> Run:
    """A module as a function of its input."""

    def run(x: Tensor) -> Sequence[Tensor]:
        with torch.no_grad():
            return module(x)

    return run


def check(
    arguments: argparse.Namespace, part: Part, eager: Run, exported: Run, sizes: Mapping[str, int]
) -> None:
    """Compare a file with the model.

    Raises:
        UserError: They do not agree.
    """
    several = [sizes] if arguments.static else check_sizes(sizes, part.window_size)
    shapes = [part.shape(entry) for entry in several]
    print("largest difference from the model:")
    worst = None
    for difference in differences(eager, exported, shapes):
        print(
            f"  {' x '.join(map(str, difference.shape)):>24}  {difference.absolute:.1e}"
            f"  ({difference.relative:.1e} standard deviations)"
        )
        if not difference.relative <= arguments.tolerance:
            worst = difference
    if worst is not None:
        raise UserError(
            f"the file does not compute what the model does at {worst.shape}: do not use it, or"
            " raise --tolerance if the difference is small"
        )


def measure(runs: Mapping[str, Run], shape: tuple[int, ...], rounds: int) -> None:
    """Time all ways to run the model in turns."""
    x = torch.randn(shape)
    functions = {name: partial(run, x) for name, run in runs.items()}
    timings = interleave(functions, torch.device("cpu"), rounds)
    rows = []
    for name, timing in timings.items():
        ratio, low, high = timing.times_faster_than(timings["eager"])
        rows.append(
            {
                "variant": name,
                "median ms": f"{timing.median * 1e3:.1f}",
                "times faster than eager": f"{ratio:.2f} ({low:.2f} to {high:.2f})",
            }
        )
    threads = torch.get_num_threads()
    print(f"speed at {' x '.join(map(str, shape))} with {threads} threads of the CPU, in turns:")
    print(as_text(rows))


if __name__ == "__main__":
    run_tool(main)
