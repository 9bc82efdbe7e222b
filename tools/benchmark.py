#!/usr/bin/env python
"""Measure speed and memory of a backbone, its variants and reference implementations.

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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import DictAction
from torch import Tensor

from uniformer_mm.analysis import iteration, report
from uniformer_mm.analysis.references import load_reference, max_difference, relative_error
from uniformer_mm.analysis.stages import stage_costs
from uniformer_mm.analysis.timing import Ceiling, count_flops, interleave, measure_ceiling
from uniformer_mm.analysis.variants import (
    DTYPES,
    VARIANTS,
    build_backbone,
    make_step,
    make_variant,
)
from uniformer_mm.apis.cli import add_config_arguments, run_tool
from uniformer_mm.apis.config import load_config, prepare_config
from uniformer_mm.apis.memory import keep_freed_memory
from uniformer_mm.errors import UserError

MAX_DIFFERENCE = 1e-3
"""Accepted difference from the first variant, in standard deviations of the output."""

MAX_ERROR_RATIO = 1.5
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
        help=f"any of {', '.join(VARIANTS)} (eager fused; eager with --step train)",
    )
    compare_parser.add_argument(
        "--peer",
        metavar="PATH",
        help="reference implementation: a checkout of https://github.com/Sense-X/UniFormer, a file"
        " of it, or mmaction2 for the installed port. Its code is executed",
    )
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
        "--dtype", choices=list(DTYPES), default="fp32", help="autocast if not fp32 (fp32)"
    )
    parser.add_argument(
        "--channels-first",
        action="store_true",
        help="input in contiguous, not channels-last, memory",
    )
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="cpu, cuda, cuda:1 ... (the GPU if there is one)",
    )
    parser.add_argument("--threads", type=int, help="CPU threads (all cores)")
    parser.add_argument(
        "--keep-memory", action="store_true", help="let the CPU's allocator keep freed memory"
    )
    parser.add_argument("--rounds", type=int, default=7, help="timed calls of each (7)")
    parser.add_argument("--csv", type=Path, help="table to write")
    parser.add_argument("--plot", type=Path, help="image to write")


def compare(arguments: argparse.Namespace) -> None:
    """Time variants and a reference implementation of one backbone in turns."""
    settings, device, dtype = prepare(arguments)
    training = arguments.step == "train"
    model = build_backbone(settings, device).train(training)
    x = make_input(arguments, input_shape(arguments, model))
    models = {}
    if arguments.peer:
        models["reference"] = load_reference(arguments.peer, model).to(device)
    names = arguments.variants or (["eager"] if training else ["eager", "fused"])
    models |= {name: make_variant(name, model) for name in names}
    runs = {name: make_step(module, x, arguments.step, dtype) for name, module in models.items()}
    if not training:
        single = make_step(make_variant("eager", model), x, "forward", torch.float32)
        check_agreement(runs, single if dtype != torch.float32 else None)
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
                "times the GEMM bound": f"{timing.median * ceiling.flops / flops:.2f}",
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
    if "compiled" in arguments.variant:
        raise UserError(f"--variant {arguments.variant}: a compiled model has no stages; use eager")
    model = make_variant(arguments.variant, build_backbone(settings, device).eval())
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


def has_fast_bf16() -> bool:
    """Whether the CPU multiplies bf16 in hardware."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


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
