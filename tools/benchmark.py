#!/usr/bin/env python
"""Measure speed and memory of a backbone, its variants and reference implementations.

Examples:
  tools/benchmark.py compare --variants eager fused compiled --backbone attention=hybrid
  tools/benchmark.py compare --peer ../UniFormer --step train --size 512 512
  tools/benchmark.py compare --backbone dims=3 --frames 16 --size 224 224 --peer mmaction2
  tools/benchmark.py scaling --attention global hybrid window --sizes 512 1024 2048 --plot s.png
  tools/benchmark.py stages --backbone arch=base attention=hybrid --variant fused
  tools/benchmark.py compare --peer timm:swin_tiny_patch4_window7_224 --size 224 224 --batch 32
  tools/benchmark.py operators --variant fused-kernels --device cuda --dtype bf16
  tools/benchmark.py suite --peer ../UniFormer --device cuda --dtype bf16 --out results
  tools/benchmark.py iteration configs/det/mask_rcnn_uniformer_s.py --synthetic
  tools/benchmark.py page docs/performance.md
"""

import argparse
import contextlib
import gc
import io
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import DictAction
from torch import Tensor

from uniformer_mm.analysis import iteration, report
from uniformer_mm.analysis.references import (
    INSTALLED_PORT,
    TIMM,
    load_reference,
    load_timm,
    max_difference,
    relative_error,
)
from uniformer_mm.analysis.stages import stage_costs
from uniformer_mm.analysis.timing import (
    Ceiling,
    count_flops,
    interleave,
    measure_ceiling,
    operator_times,
)
from uniformer_mm.analysis.variants import (
    DTYPES,
    PARTS,
    build_backbone,
    make_step,
    make_variant,
)
from uniformer_mm.apis.cli import add_config_arguments, run_tool
from uniformer_mm.apis.config import load_config, prepare_config
from uniformer_mm.apis.memory import keep_freed_memory
from uniformer_mm.errors import UserError
from uniformer_mm.torch_internals import has_fast_bf16

MAX_DIFFERENCE = 1e-3
"""Accepted difference from the first variant, in standard deviations of the output."""

MAX_ERROR_RATIO = 2.0
"""In half precision: accepted error, relative to single precision, over the first variant's."""


def main() -> None:
    """Parse the command line and run one of the commands."""
    arguments = make_parser().parse_args()
    arguments.command(arguments)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add_command(name: str, command: Callable, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=command)
        return added

    compare_parser = add_command(
        "compare", compare, "variants and a reference implementation, run in turns"
    )
    add_backbone_arguments(compare_parser)
    compare_parser.add_argument(
        "--variants",
        nargs="+",
        metavar="NAME",
        help=f"{', '.join(PARTS)}, or several of them joined as in fused-kernels (eager fused;"
        " eager with --step train)",
    )
    add_peer_argument(compare_parser, "+")
    add_input_arguments(compare_parser)
    add_step_argument(compare_parser)

    scaling_parser = add_command("scaling", scaling, "time and memory over the input size")
    add_backbone_arguments(scaling_parser)
    scaling_parser.add_argument(
        "--attention", nargs="+", metavar="MODE", help="global, hybrid, window (all three)"
    )
    scaling_parser.add_argument(
        "--sizes",
        nargs="+",
        type=int,
        default=[512, 768, 1024, 1536, 2048],
        metavar="PIXELS",
        help="sides of square images (512 768 1024 1536 2048)",
    )
    scaling_parser.add_argument(
        "--frames", nargs="+", type=int, help="scale the length of clips instead", metavar="N"
    )
    scaling_parser.add_argument(
        "--variants", nargs=1, default=["eager"], metavar="NAME", help="(eager)"
    )
    add_step_argument(scaling_parser)

    stages_parser = add_command(
        "stages", stages, "time of each stage of a forward pass, and its lower bound"
    )
    add_backbone_arguments(stages_parser)
    add_input_arguments(stages_parser)
    stages_parser.add_argument(
        "--variant", default="eager", metavar="NAME", help="one that is not compiled (eager)"
    )

    operators_parser = add_command(
        "operators", operators, "the operators or GPU kernels that a step spends its time on"
    )
    add_backbone_arguments(operators_parser)
    add_input_arguments(operators_parser)
    operators_parser.add_argument(
        "--variant", default="eager", metavar="NAME", help="as for compare (eager)"
    )
    operators_parser.add_argument("--rows", type=int, default=25, help="rows to show (25)")
    add_step_argument(operators_parser)

    suite_parser = add_command(
        "suite", suite, "a series of comparisons within a time limit, the most important first"
    )
    add_peer_argument(suite_parser, None)
    add_device_arguments(suite_parser)
    suite_parser.add_argument("--out", type=Path, required=True, help="folder of tables and logs")
    suite_parser.add_argument(
        "--budget", type=float, default=500, metavar="SECONDS", help="time for all steps (500)"
    )
    suite_parser.add_argument(
        "--steps", nargs="+", choices=SUITE, metavar="NAME", help=f"any of {', '.join(SUITE)} (all)"
    )
    suite_parser.add_argument(
        "--dry-run", action="store_true", help="small inputs, one round: whether every step runs"
    )

    iteration_parser = add_command(
        "iteration", split_iteration, "time of the parts of a training iteration of a whole model"
    )
    add_config_arguments(iteration_parser)
    iteration_parser.add_argument(
        "--also", nargs="+", default=[], metavar="CONFIG", help="further configs, a row for each"
    )
    iteration_parser.add_argument("--iterations", type=int, default=10, help="timed ones (10)")
    iteration_parser.add_argument("--csv", type=Path, help="file to write")

    page_parser = add_command(
        "page",
        lambda arguments: report.update_page(arguments.page),
        "regenerate the tables of a Markdown page from their CSV files",
    )
    page_parser.add_argument("page", type=Path, help="Markdown file")
    return parser


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """The size of one input."""
    parser.add_argument(
        "--size",
        nargs=2,
        type=int,
        default=[800, 1280],
        metavar=("HEIGHT", "WIDTH"),
        help="in pixels (800 1280)",
    )
    parser.add_argument("--frames", type=int, default=16, help="frames per clip (16)")


def add_peer_argument(parser: argparse.ArgumentParser, nargs: str | None) -> None:
    """Reference implementations."""
    parser.add_argument(
        "--peer",
        nargs=nargs,
        default=[] if nargs else None,
        metavar="PATH",
        help="reference implementation: a checkout of https://github.com/Sense-X/UniFormer, a file"
        f" of it (its code is executed), {INSTALLED_PORT} for the installed port, or {TIMM}NAME for"
        " a model of timm",
    )


def add_step_argument(parser: argparse.ArgumentParser) -> None:
    """Inference or training."""
    parser.add_argument(
        "--step",
        choices=["forward", "train"],
        default="forward",
        help="forward pass without gradients, or training step (forward)",
    )


def add_backbone_arguments(parser: argparse.ArgumentParser) -> None:
    """The backbone, the device, and the outputs."""
    parser.add_argument("--config", help="take the backbone of a config")
    parser.add_argument(
        "--backbone",
        nargs="+",
        action=DictAction,
        default={},
        metavar="KEY=VALUE",
        help="options of the backbone, e.g. arch=base attention=window, or type=UniFormerLight",
    )
    parser.add_argument("--batch", type=int, default=1, help="batch size (1)")
    parser.add_argument(
        "--channels-first",
        action="store_true",
        help="input in contiguous, not channels-last, memory",
    )
    parser.add_argument("--threads", type=int, help="CPU threads (all cores)")
    parser.add_argument(
        "--keep-memory", action="store_true", help="let the CPU's allocator keep freed memory"
    )
    parser.add_argument("--rounds", type=int, default=7, help="timed calls of each (7)")
    parser.add_argument("--csv", type=Path, help="table to write")
    parser.add_argument("--plot", type=Path, help="image to write")
    add_device_arguments(parser)


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    """The device and the number format."""
    parser.add_argument(
        "--dtype", choices=list(DTYPES), default="fp32", help="autocast if not fp32 (fp32)"
    )
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="cpu, cuda, cuda:1 ... (the GPU if there is one)",
    )


def compare(arguments: argparse.Namespace) -> None:
    """Time variants and a reference implementation of one backbone in turns."""
    settings, device, dtype = prepare(arguments)
    training = arguments.step == "train"
    model = build_backbone(settings, device).train(training)
    x = make_input(arguments, input_shape(arguments, model))
    models: dict[str, Any] = {}
    others = {}
    for peer in arguments.peer:
        if peer.startswith(TIMM):
            others[peer.removeprefix(TIMM)] = load_timm(peer, arguments.size, training).to(device)
        else:
            name = Path(peer).name if "reference" in models else "reference"
            models[name] = load_reference(peer, model).to(device)
    names = arguments.variants or (["eager"] if training else ["eager", "fused"])
    models |= {name: make_variant(name, model, dtype) for name in names}
    runs = {
        name: make_step(module, x, arguments.step, dtype, graph="graph" in name.split("-"))
        for name, module in models.items()
    }
    if not training:
        single = make_step(make_variant("eager", model), x, "forward", torch.float32)
        check_agreement(runs, single if dtype != torch.float32 else None)
    runs |= {name: make_step(module, x, arguments.step, dtype) for name, module in others.items()}
    ceiling = measure_ceiling(device, dtype)
    plain = make_variant("plain", model.eval()).requires_grad_(False)
    flops = count_flops(make_step(plain, x, "forward", torch.float32)) * (3 if training else 1)
    timings = interleave(runs, device, arguments.rounds)
    baseline, first = next(iter(timings.items()))
    rows = []
    for name, timing in timings.items():
        quartiles = " to ".join(f"{seconds * 1e3:.1f}" for seconds in timing.quartiles)
        ratio, low, high = timing.speedup(first)
        rows.append(
            {
                "variant": name,
                "median ms": f"{timing.median * 1e3:.1f}",
                "quartiles ms": quartiles,
                "inputs / s": f"{arguments.batch / timing.median:.2f}",
                "peak MB": f"{timing.peak_bytes / 1e6:.0f}",
                f"times faster than {baseline}": f"{ratio:.2f} ({low:.2f} to {high:.2f})",
                f"memory of {baseline}": f"{timing.peak_bytes / first.peak_bytes:.0%}",
                "times the GEMM bound": (
                    "" if name in others else f"{timing.median * ceiling.flops / flops:.2f}"
                ),
            }
        )
    print(f"{flops / 1e9:.1f} GFLOP in products and convolutions; {ceiling_text(ceiling)}")
    finish(rows, arguments)
    if arguments.plot:
        bars = {
            name: (timing.median * 1e3, *(seconds * 1e3 for seconds in timing.quartiles))
            for name, timing in timings.items()
        }
        title = f"{arguments.step}, {tuple(x.shape)}, {arguments.dtype}"
        report.plot_bars(bars, arguments.plot, "milliseconds (median, quartiles)", title)


def check_agreement(runs: dict[str, Callable[[], Any]], single: Callable[[], Any] | None) -> None:
    """Print the differences of results.

    Args:
        runs: What is compared; the others have to agree with the first.
        single: The model in single precision if `runs` are in half precision, where errors against
            single precision are compared: they are as large as differences between runs.

    Raises:
        UserError: The results differ too much for a comparison of times.
    """
    baseline, *others = runs
    if single:
        expected = features(single())
        errors = {name: relative_error(features(run()), expected) for name, run in runs.items()}
        allowed = MAX_ERROR_RATIO * errors[baseline]
        text = "{name}: error {error:.2%} relative to single precision"
    else:
        expected = features(runs[baseline]())
        errors = {name: max_difference(features(runs[name]()), expected) for name in others}
        allowed = MAX_DIFFERENCE
        text = "{name}: differs from {baseline} by up to {error:.1e} standard deviations"
    for name, error in errors.items():
        print(text.format(name=name, baseline=baseline, error=error))
        if not error <= allowed:
            raise UserError(f"outputs of {name} and {baseline} do not agree: nothing was measured")


def features(outputs: Any) -> Any:
    """Outputs without the class token."""
    return outputs[0] if isinstance(outputs, tuple) and outputs[-1].dim() == 2 else outputs


def scaling(arguments: argparse.Namespace) -> None:
    """Time and memory of attention modes over image sizes or clip lengths."""
    settings, device, dtype = prepare(arguments)
    default_modes = ["global"] if arguments.frames else ["global", "hybrid", "window"]
    axis = "frames" if arguments.frames else "side in pixels"
    rows: list[dict[str, Any]] = []
    milliseconds: dict[str, list[tuple[float, float]]] = {}
    megabytes: dict[str, list[tuple[float, float]]] = {}
    for mode in arguments.attention or default_modes:
        model = build_backbone({**settings, "attention": mode}, device)
        model = make_variant(arguments.variants[0], model.train(arguments.step == "train"))
        for size in arguments.frames or arguments.sizes:
            x = make_input(arguments, (size, 224, 224) if arguments.frames else (size, size))
            run = make_step(model, x, arguments.step, dtype)
            timing = interleave({mode: run}, device, arguments.rounds, warmup=1)[mode]
            pixels = x[:, 0].numel() / 1e6
            time, memory = timing.median * 1e3, timing.peak_bytes / 1e6
            row = {
                "attention": mode,
                axis: size,
                "median ms": f"{time:.0f}",
                "ms per megapixel": f"{time / pixels:.0f}",
                "peak MB": f"{memory:.0f}",
                "peak MB per megapixel": f"{memory / pixels:.0f}",
            }
            print(report.as_text([row]), flush=True)
            rows.append(row)
            milliseconds.setdefault(mode, []).append((size, time / pixels))
            megabytes.setdefault(mode, []).append((size, memory / pixels))
    finish(rows, arguments)
    if arguments.plot:
        panels = {
            "milliseconds per megapixel": milliseconds,
            "peak MB per megapixel": megabytes,
        }
        label = "frames of 224 x 224 pixels" if arguments.frames else "image side in pixels"
        report.plot_lines(panels, arguments.plot, label)


def stages(arguments: argparse.Namespace) -> None:
    """Time, work and lower bound of every stage."""
    settings, device, dtype = prepare(arguments)
    if {"compiled", "graph"} & set(arguments.variant.split("-")):
        raise UserError(f"--variant {arguments.variant}: as a whole graph it has no stages")
    model = make_variant(arguments.variant, build_backbone(settings, device).eval(), dtype)
    x = make_input(arguments, input_shape(arguments, model))
    ceiling = measure_ceiling(device, dtype)
    run = make_step(model, x, "forward", dtype)
    costs = stage_costs(model, run, ceiling, arguments.rounds)
    total = sum(cost.median for cost in costs.values())
    rows = [
        {
            "stage": name,
            "median ms": f"{cost.median * 1e3:.1f}",
            "share": f"{cost.median / total:.0%}",
            "GFLOP": f"{cost.flops / 1e9:.1f}",
            "GB moved": f"{cost.bytes / 1e9:.2f}",
            "floor ms": f"{cost.floor * 1e3:.1f}",
            "times the floor": f"{cost.median / cost.floor:.2f}",
        }
        for name, cost in costs.items()
    ]
    print(ceiling_text(ceiling))
    finish(rows, arguments)


def operators(arguments: argparse.Namespace) -> None:
    """Time of each operator or GPU kernel of a step."""
    settings, device, dtype = prepare(arguments)
    model = build_backbone(settings, device).train(arguments.step == "train")
    x = make_input(arguments, input_shape(arguments, model))
    module = make_variant(arguments.variant, model, dtype)
    graph = "graph" in arguments.variant.split("-")
    run = make_step(module, x, arguments.step, dtype, graph=graph)
    timing = interleave({"step": run}, device, arguments.rounds)["step"]
    times = operator_times(run, device)
    total = sum(seconds for *_, seconds in times)
    rows = [
        {
            "operator": name[:100],
            "calls": calls,
            "ms": f"{seconds * 1e3:.2f}",
            "share": f"{seconds / total:.0%}",
        }
        for name, calls, seconds in times[: arguments.rows]
    ]
    print(
        f"a step takes {timing.median * 1e3:.1f} ms; its {sum(row[1] for row in times)} operators"
        f" take {total * 1e3:.1f} ms"
    )
    finish(rows, arguments)


_DENSE = "--size 800 1280 --batch 8"
_B = f"{_DENSE} --backbone arch=base attention=hybrid"
_S = f"{_DENSE} --backbone attention=hybrid"
_CLIP = "--size 224 224 --frames 16 --batch 8 --backbone dims=3"
_LIGHT = f"{_DENSE} --backbone type=UniFormerLight arch=xxs"
_INFERENCE = "--variants eager eager-cudnn fused fused-cudnn fused-cast fused-cast-cudnn"
_SMALL_PEERS = f"{TIMM}swin_tiny_patch4_window7_224 {TIMM}convnext_tiny {TIMM}pvt_v2_b2"
_SWIN_SMALL = f"{TIMM}swin_small_patch4_window7_224"
SUITE = {
    "infer_b": (60, f"compare --peer PEER {_B} {_INFERENCE}"),
    "train_b": (
        150,
        f"compare --peer PEER {_B} --step train --variants eager kernels keeping blocks",
    ),
    "train_video_s": (
        100,
        f"compare --peer PEER {_CLIP} --step train --variants eager cudnn keeping blocks",
    ),
    "infer_video_s": (50, f"compare --peer PEER {_CLIP} {_INFERENCE}"),
    "infer_xxs": (50, f"compare --peer PEER {_LIGHT} {_INFERENCE}"),
    "timm_s": (40, f"compare --peer {_SMALL_PEERS} {_S} --variants eager fused fused-cast"),
    "timm_b": (30, f"compare --peer {_SWIN_SMALL} {_B} --variants eager fused fused-cast"),
    "timm_s_224": (
        30,
        f"compare --peer {_SMALL_PEERS} --size 224 224 --batch 128"
        " --variants eager fused fused-cast",
    ),
    "timm_s_train": (
        60,
        f"compare --peer {_SMALL_PEERS} {_S} --step train --variants eager blocks",
    ),
    "timm_b_train": (60, f"compare --peer {_SWIN_SMALL} {_B} --step train --variants eager blocks"),
    "stages_b": (30, f"stages {_B} --variant fused-cast"),
    "operators_infer_b": (20, f"operators {_B} --variant fused-cast"),
    "operators_train_b": (20, f"operators {_B} --step train"),
    "operators_train_video_s": (20, f"operators {_CLIP} --step train"),
    "infer_s_batch_1": (
        40,
        "compare --peer PEER --size 800 1280 --backbone attention=hybrid --variants eager fused"
        " fused-cast fused-cast-graph",
    ),
    "infer_b_compiled": (150, f"compare {_B} --variants fused-cast fused-cast-blocks compiled"),
    "train_b_compiled": (150, f"compare {_B} --step train --variants eager blocks compiled"),
    "train_video_s_graph": (50, f"compare {_CLIP} --step train --variants eager graph"),
}
"""Comparisons by name: seconds at most, and the command. PEER is the official code."""


def suite(arguments: argparse.Namespace) -> None:
    """Run comparisons one after the other, and write the table and log of each at once."""
    start = time.monotonic()
    arguments.out.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in arguments.steps or SUITE:
        seconds, command = SUITE[name]
        seconds = min(seconds, arguments.budget - (time.monotonic() - start))
        if seconds < 10:
            print(f"== {name}: no time left")
            continue
        words = [*suite_command(command, arguments), "--csv", str(arguments.out / f"{name}.csv")]
        print(f"== {name}, after {time.monotonic() - start:.0f} s: {' '.join(words)}", flush=True)
        step = make_parser().parse_args(words)
        sys.argv[1:] = words  # a table names the command that repeats it
        log = (arguments.out / f"{name}.txt").open("w")
        try:
            with contextlib.redirect_stdout(Copies(sys.stdout, log)), time_limit(seconds):
                step.command(step)
            gc.collect()
            torch.compiler.reset()
            torch.cuda.empty_cache()
        except Exception as error:
            failed.append(name)
            print(f"== {name} failed: {type(error).__name__}: {str(error)[:2000]}", flush=True)
            traceback.print_exc(file=log)
            if "CUDA error" in str(error):
                print("== no further steps: the process cannot use the GPU any more")
                break
        finally:
            log.close()
    if failed:
        raise UserError(f"{len(failed)} steps failed: {', '.join(failed)}; see {arguments.out}")


def suite_command(command: str, arguments: argparse.Namespace) -> list[str]:
    """The words of a step's command on the device and, for a dry run, with small inputs."""
    words = command.split()
    if arguments.peer:
        words = [str(arguments.peer) if word == "PEER" else word for word in words]
    elif "PEER" in words:
        at = words.index("PEER")
        del words[at - 1 : at + 1]
    words += ["--device", arguments.device, "--dtype", arguments.dtype]
    if arguments.dry_run:  # later options replace earlier ones
        words += ["--size", "64", "64", "--batch", "2", "--rounds", "1"]
        words += ["--frames", "4"] if "--frames" in words else []
    elif words[0] != "stages":
        words += ["--rounds", "15"]
    return words


class Copies(io.TextIOBase):
    """A stream that writes to several streams."""

    def __init__(self, *streams: Any) -> None:
        self.streams = streams

    def write(self, text: str) -> int:
        """Write to all of them at once."""
        for stream in self.streams:
            stream.write(text)
            stream.flush()
        return len(text)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeoutError` in the body after some seconds."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"more than {seconds:.0f} s")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def split_iteration(arguments: argparse.Namespace) -> None:
    """Time the parts of the training iterations of whole models."""
    rows = []
    for config in (arguments.config, *arguments.also):
        arguments.config = config
        cfg = prepare_config(arguments, splits=("train", "val"))
        parts = iteration.time_parts(cfg, arguments.iterations)
        total = sum(parts.values())
        shares = {
            f"{name} ms": f"{seconds * 1e3:.0f} ({seconds / total:.0%})"
            for name, seconds in parts.items()
        }
        name, batch = Path(config).stem, cfg.train_dataloader.batch_size
        rows.append({"config": name, "batch": batch, **shares, "sum ms": f"{total * 1e3:.0f}"})
    arguments.device = "cuda" if torch.cuda.is_available() else "cpu"  # as the Runner selects it
    finish(rows, arguments)


def prepare(arguments: argparse.Namespace) -> tuple[dict[str, Any], torch.device, torch.dtype]:
    """Options of the backbone, the device and the data type."""
    settings = dict(arguments.backbone)
    if arguments.config:
        settings = {**load_config(arguments.config).model.backbone.to_dict(), **settings}
    if arguments.keep_memory and not keep_freed_memory():
        raise UserError("--keep-memory is a setting of glibc, which is not in use here")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no GPU; use --device cpu")
    if arguments.device == "cpu" and arguments.dtype == "bf16" and not has_fast_bf16():
        raise UserError("--dtype bf16: this CPU has neither AVX512-BF16 nor AMX: use --dtype fp32")
    return settings, torch.device(arguments.device), DTYPES[arguments.dtype]


def make_input(arguments: argparse.Namespace, shape: Sequence[int]) -> Tensor:
    """Random pixels or frames of a shape."""
    x = torch.randn(arguments.batch, 3, *shape, device=arguments.device)
    memory = torch.channels_last if len(shape) == 2 else torch.channels_last_3d
    return x if arguments.channels_first else x.contiguous(memory_format=memory)


def input_shape(arguments: argparse.Namespace, model: Any) -> list[int]:
    """Height and width, and for videos frames before them."""
    return [arguments.frames, *arguments.size] if model.dims == 3 else arguments.size


def ceiling_text(ceiling: Ceiling) -> str:
    """The highest measured speeds of the hardware."""
    return (
        f"matrix products run at up to {ceiling.flops / 1e9:.0f} GFLOP/s,"
        f" copies at {ceiling.bytes / 1e9:.0f} GB/s"
    )


def finish(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    """Print the table, and write it."""
    print(report.as_text(rows))
    if arguments.csv:
        report.write_csv(rows, arguments.csv, arguments.device)


if __name__ == "__main__":
    run_tool(main)
