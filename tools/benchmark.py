#!/usr/bin/env python
"""Measure speed and memory of a backbone, beside other ways to run it and other implementations.

Examples:
  tools/benchmark.py compare --variants eager fused compiled --backbone attention=hybrid
  tools/benchmark.py compare --peer ../UniFormer --step train --size 512 512
  tools/benchmark.py compare --backbone dims=3 --frames 16 --size 224 224 --peer mmaction2
  tools/benchmark.py scaling --attention global hybrid window --sizes 512 1024 2048 --plot s.png
  tools/benchmark.py stages --backbone arch=base attention=hybrid --variant fused
  tools/benchmark.py iteration configs/det/mask_rcnn_uniformer_s.py --synthetic
  tools/benchmark.py page docs/performance.md
"""

import argparse
import os
import platform
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import DictAction
from torch import Tensor

from uniformer_mm.analysis import iteration, report
from uniformer_mm.analysis.ceiling import Ceiling, count_flops, measure_ceiling
from uniformer_mm.analysis.references import agreement, error, load_peer
from uniformer_mm.analysis.stages import stage_costs
from uniformer_mm.analysis.timing import Timing, interleave
from uniformer_mm.analysis.variants import (
    DTYPES,
    VARIANTS,
    build_backbone,
    make_variant,
    runner,
)
from uniformer_mm.apis.cli import add_config_arguments, run_tool
from uniformer_mm.apis.config import load_config, prepare_config
from uniformer_mm.apis.memory import keep_freed_memory
from uniformer_mm.errors import UserError

SAME = 1e-3
"""Largest accepted difference from the first variant, in standard deviations of the output."""

AS_NEAR = 1.5
"""In half precision: largest accepted distance from single precision, over the first variant's."""


def main() -> None:
    """Parse the command line and run one of the commands."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    compare_parser = commands.add_parser("compare", help="variants and peers, run in turns")
    add_backbone_arguments(compare_parser)
    compare_parser.add_argument(
        "--variants",
        nargs="+",
        metavar="NAME",
        help=f"of {', '.join(VARIANTS)} (eager fused; eager with --step train)",
    )
    compare_parser.add_argument(
        "--peer",
        metavar="PATH",
        help="another implementation: a checkout of https://github.com/Sense-X/UniFormer, a file"
        " of it, or mmaction2 for the port that is installed. Its code is executed",
    )
    add_input_arguments(compare_parser)
    add_step_argument(compare_parser)
    compare_parser.set_defaults(command=compare)

    scaling_parser = commands.add_parser("scaling", help="cost over the size of the input")
    add_backbone_arguments(scaling_parser)
    scaling_parser.add_argument(
        "--attention", nargs="+", metavar="MODE", help="global, hybrid, window (all three)"
    )
    scaling_parser.add_argument(
        "--sizes", nargs="+", type=int, default=[512, 768, 1024, 1536, 2048], metavar="PIXELS"
    )
    scaling_parser.add_argument(
        "--frames", nargs="+", type=int, help="scale the length of clips instead", metavar="N"
    )
    scaling_parser.add_argument("--variants", nargs=1, default=["eager"], metavar="NAME")
    add_step_argument(scaling_parser)
    scaling_parser.set_defaults(command=scaling)

    stages_parser = commands.add_parser(
        "stages", help="the stages of a forward pass, beside the least they can take"
    )
    add_backbone_arguments(stages_parser)
    add_input_arguments(stages_parser)
    stages_parser.add_argument("--variant", default="eager", metavar="NAME", help="eager or fused")
    stages_parser.set_defaults(command=stages)

    iteration_parser = commands.add_parser(
        "iteration", help="parts of a training iteration of a whole model"
    )
    add_config_arguments(iteration_parser)
    iteration_parser.add_argument(
        "--also", nargs="+", default=[], metavar="CONFIG", help="further configs, a row for each"
    )
    iteration_parser.add_argument("--iterations", type=int, default=10, help="timed ones (10)")
    iteration_parser.add_argument("--csv", type=Path, help="file to write")
    iteration_parser.set_defaults(command=split_iteration)

    page_parser = commands.add_parser("page", help="make the tables of a Markdown page anew")
    page_parser.add_argument("page", type=Path)
    page_parser.set_defaults(command=lambda arguments: report.fill_page(arguments.page))

    arguments = parser.parse_args()
    arguments.command(arguments)


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """The size of one input."""
    parser.add_argument("--size", nargs=2, type=int, default=[800, 1280], metavar="PIXELS")
    parser.add_argument("--frames", type=int, default=16, help="of a clip (16)")


def add_step_argument(parser: argparse.ArgumentParser) -> None:
    """How much of training is measured."""
    parser.add_argument("--step", choices=["forward", "train"], default="forward")


def add_backbone_arguments(parser: argparse.ArgumentParser) -> None:
    """What is measured, and how."""
    parser.add_argument("--config", help="take the backbone of a config")
    parser.add_argument(
        "--backbone",
        nargs="+",
        action=DictAction,
        default={},
        metavar="KEY=VALUE",
        help="settings of the backbone, e.g. arch=base attention=window, or type=UniFormerLight",
    )
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument(
        "--dtype", choices=list(DTYPES), default="fp32", help="autocast if not fp32"
    )
    parser.add_argument("--channels-first", action="store_true", help="layout of the input")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="of the CPU (all cores)")
    parser.add_argument(
        "--keep-memory", action="store_true", help="let the CPU's allocator keep freed memory"
    )
    parser.add_argument("--rounds", type=int, default=7, help="timed calls of each (7)")
    parser.add_argument("--csv", type=Path, help="file to write")
    parser.add_argument("--plot", type=Path, help="picture to write")


def compare(arguments: argparse.Namespace) -> None:
    """Time variants and a peer of one backbone in turns."""
    settings, device, dtype = prepare(arguments)
    training = arguments.step == "train"
    model = build_backbone(settings, device).train(training)
    x = make_input(arguments, model, one_size(arguments, model))
    models = {}
    if arguments.peer:
        models["peer"] = load_peer(arguments.peer, model).to(device)
    names = arguments.variants or (["eager"] if training else ["eager", "fused"])
    models |= {name: make_variant(name, model) for name in names}
    runs = {name: runner(module, x, arguments.step, dtype) for name, module in models.items()}
    first = next(iter(runs))
    if not training:
        single = make_variant("eager", model) if dtype != torch.float32 else None
        check_agreement(runs, single and runner(single, x, "forward", torch.float32))
    ceiling = measure_ceiling(device, dtype)
    plain = make_variant("plain", model.eval()).requires_grad_(False)
    flops = count_flops(runner(plain, x, "forward", torch.float32)) * (3 if training else 1)
    timings = interleave(runs, device, arguments.rounds)
    rows = [
        comparison_row(name, timing, timings[first], first, flops, ceiling, arguments)
        for name, timing in timings.items()
    ]
    print(f"{flops / 1e9:.1f} GFLOP in products and convolutions; {ceiling_text(ceiling)}")
    finish(rows, arguments)
    if arguments.plot:
        bars = {
            name: (t.median * 1e3, *(q * 1e3 for q in t.quartiles)) for name, t in timings.items()
        }
        title = f"{arguments.step}, {tuple(x.shape)}, {arguments.dtype}"
        report.plot_bars(bars, arguments.plot, "milliseconds (median, quartiles)", title)


def check_agreement(runs: dict[str, Callable[[], Any]], single: Callable[[], Any] | None) -> None:
    """Print how far results are apart.

    Args:
        runs: What is compared; the first is the yardstick.
        single: The model in single precision, if `runs` are in half precision: these are as far
            from one another as from that.

    Raises:
        UserError: They are too far apart for their times to be compared.
    """
    first = next(iter(runs))
    expected = features((single or runs[first])())
    allowed = SAME
    for name, run in runs.items():
        if single:
            distance = error(features(run()), expected)
            print(f"{name} is {distance:.2%} off single precision")
            allowed = AS_NEAR * distance if name == first else allowed
        elif name == first:
            continue
        else:
            distance = agreement(features(run()), expected)
            print(f"largest difference of {name} from {first}: {distance:.1e} standard deviations")
        if not distance <= allowed:
            raise UserError(f"{name} and {first} do not agree: nothing was measured")


def comparison_row(
    name: str,
    timing: Timing,
    first: Timing,
    first_name: str,
    flops: int,
    ceiling: Ceiling,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """What the table says of one variant."""
    ratio, low, high = timing.times_faster_than(first)
    quarter, three_quarters = (f"{seconds * 1e3:.1f}" for seconds in timing.quartiles)
    return {
        "variant": name,
        "median ms": f"{timing.median * 1e3:.1f}",
        "quartiles ms": f"{quarter} to {three_quarters}",
        "inputs / s": f"{arguments.batch / timing.median:.2f}",
        "peak MB": f"{timing.peak_bytes / 1e6:.0f}",
        f"times faster than {first_name}": f"{ratio:.2f} ({low:.2f} to {high:.2f})",
        f"memory of {first_name}": f"{timing.peak_bytes / first.peak_bytes:.0%}",
        "times the GEMM bound": f"{timing.median * ceiling.flops / flops:.2f}",
    }


def scaling(arguments: argparse.Namespace) -> None:
    """Time and memory of attention modes over sizes, or of clips over their length."""
    settings, device, dtype = prepare(arguments)
    modes = arguments.attention or (
        ["global"] if arguments.frames else ["global", "hybrid", "window"]
    )
    rows, milliseconds, megabytes = [], {}, {}
    for mode in modes:
        model = build_backbone({**settings, "attention": mode}, device)
        model = make_variant(arguments.variants[0], model.train(arguments.step == "train"))
        for size in arguments.frames or arguments.sizes:
            shape = (size, 224, 224) if arguments.frames else (size, size)
            x = make_input(arguments, model, shape)
            run = runner(model, x, arguments.step, dtype)
            timing = interleave({mode: run}, device, arguments.rounds, warmup=1)[mode]
            pixels = x[:, 0].numel() / 1e6
            row = {
                "attention": mode,
                "frames" if arguments.frames else "side in pixels": size,
                "median ms": f"{timing.median * 1e3:.0f}",
                "ms per megapixel": f"{timing.median * 1e3 / pixels:.0f}",
                "peak MB": f"{timing.peak_bytes / 1e6:.0f}",
                "peak MB per megapixel": f"{timing.peak_bytes / 1e6 / pixels:.0f}",
            }
            print(report.as_text([row]), flush=True)
            rows.append(row)
            milliseconds.setdefault(mode, []).append((size, timing.median * 1e3 / pixels))
            megabytes.setdefault(mode, []).append((size, timing.peak_bytes / 1e6 / pixels))
    finish(rows, arguments)
    if arguments.plot:
        x_label = (
            "frames of 224 x 224 pixels" if arguments.frames else "side of the image in pixels"
        )
        panels = {
            "milliseconds per megapixel": milliseconds,
            "MB at the peak per megapixel": megabytes,
        }
        report.plot_lines(panels, arguments.plot, x_label)


def stages(arguments: argparse.Namespace) -> None:
    """Time, work and floor of every stage."""
    settings, device, dtype = prepare(arguments)
    if "compiled" in arguments.variant:
        raise UserError(f"--variant {arguments.variant}: a compiled model has no stages; use eager")
    model = make_variant(arguments.variant, build_backbone(settings, device).eval())
    x = make_input(arguments, model, one_size(arguments, model))
    ceiling = measure_ceiling(device, dtype)
    run = runner(model, x, "forward", dtype)
    costs = stage_costs(model, run, ceiling, device, arguments.rounds)
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
    arguments.device = str(iteration.device_of(cfg))
    finish(rows, arguments)


def prepare(arguments: argparse.Namespace) -> tuple[dict[str, Any], torch.device, torch.dtype]:
    """Settings of the backbone, the device and the number format."""
    settings = dict(arguments.backbone)
    if arguments.config:
        settings = {**load_config(arguments.config).model.backbone.to_dict(), **settings}
    if arguments.keep_memory and not keep_freed_memory():
        raise UserError("--keep-memory is a setting of glibc, which is not in use here")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no GPU here; use --device cpu")
    if arguments.device == "cpu" and arguments.dtype == "bf16" and not quick_bf16():
        raise UserError("--dtype bf16: this CPU has neither AVX512-BF16 nor AMX: use --dtype fp32")
    return settings, torch.device(arguments.device), DTYPES[arguments.dtype]


def quick_bf16() -> bool:
    """Whether the CPU multiplies bf16 in hardware."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def make_input(arguments: argparse.Namespace, model: Any, shape: tuple[int, ...]) -> Tensor:
    """Random pixels or frames of a shape."""
    x = torch.randn(arguments.batch, 3, *shape, device=arguments.device)
    memory = torch.channels_last if len(shape) == 2 else torch.channels_last_3d
    return x if arguments.channels_first else x.contiguous(memory_format=memory)


def one_size(arguments: argparse.Namespace, model: Any) -> tuple[int, ...]:
    """Height and width, and for videos frames before them."""
    return (*((arguments.frames,) if model.dims == 3 else ()), *arguments.size)


def ceiling_text(ceiling: Ceiling) -> str:
    """What the hardware does at best."""
    return (
        f"products run at {ceiling.flops / 1e9:.0f} GFLOP/s here,"
        f" copies at {ceiling.bytes / 1e9:.0f} GB/s"
    )


def features(outputs: Any) -> Any:
    """Outputs without the class token."""
    return outputs[0] if isinstance(outputs, tuple) and outputs[-1].dim() == 2 else outputs


def finish(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    """Print the table, and write it."""
    print(report.as_text(rows))
    command = shlex.join([os.path.relpath(sys.argv[0]), *sys.argv[1:]])
    made = {"torch": torch.__version__, "device": device_name(arguments.device), "command": command}
    if arguments.csv:
        report.write_csv([{**row, **made} for row in rows], arguments.csv)


def device_name(device: str) -> str:
    """The GPU, or the CPU with its threads."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{cpu_model()} ({capability}), {torch.get_num_threads()} threads"


def cpu_model() -> str:
    """What the processor calls itself."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    run_tool(main)
