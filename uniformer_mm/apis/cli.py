"""What the command-line tools share: arguments, and errors without tracebacks."""

import argparse
from collections.abc import Callable
from pathlib import Path

from mmengine.config import DictAction

from uniformer_mm.apis.diagnosis import bug_hint, diagnose, part_at_fault
from uniformer_mm.datasets.conversion.coco_files import FORMATS, VAL_SHARE
from uniformer_mm.errors import add_hint
from uniformer_mm.models.archs import ATTENTION_MODES

USER_ERROR = 2
"""Exit status after a user's mistake; the message is on stderr."""

INTERRUPTED = 130
"""Exit status after Ctrl-C."""

CHECKPOINT_SOURCES = "file, URL, hf://OWNER/REPOSITORY/FILE, or model name"


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the arguments of every tool that runs a config.

    Args:
        description: The tool's docstring: a sentence, then examples.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config_arguments(parser)
    return parser


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `uniformer_mm.apis.config.prepare_config`."""
    add_data_arguments(parser)
    parser.add_argument("--work-dir", help="for logs and results (default: work_dirs/CONFIG_NAME)")
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        default="none",
        help="job launcher (default: none)",
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the config, its data and its overrides."""
    parser.add_argument(
        "config", help="config file, uniformer_mm::TASK/NAME.py, or the name of a model of the zoo"
    )
    data = parser.add_mutually_exclusive_group()
    data.add_argument(
        "--synthetic",
        nargs="?",
        type=int,
        default=False,
        metavar="N",
        help="use a synthetic dataset of N training images or videos, generated on first use, with"
        " smaller inputs and a shorter schedule",
    )
    data.add_argument(
        "--coco",
        nargs="+",
        metavar="PATH",
        help="use a dataset in COCO format: IMAGE_FOLDER TRAIN.json [VAL.json]",
    )
    for name, layout in FORMATS.items():
        data.add_argument(f"--{name}", type=Path, metavar="PATH", help=f"use a dataset in {layout}")
    parser.add_argument(
        "--val-share",
        type=float,
        metavar="SHARE",
        help="share of the images to split off for validation (default: the splits of the dataset;"
        f" {VAL_SHARE} without splits)",
    )
    parser.add_argument(
        "--split-seed", type=int, default=0, metavar="N", help="seed of --val-share (default: 0)"
    )
    _add_cfg_options(parser)


def add_model_arguments(parser: argparse.ArgumentParser, out: Path) -> None:
    """Add the arguments of every tool that runs a model on files.

    Args:
        parser: Gets them.
        out: Default folder for the results.
    """
    parser.add_argument(
        "--checkpoint",
        metavar="CHECKPOINT",
        help=f"{CHECKPOINT_SOURCES} (default: the published weights of a model of the zoo)",
    )
    parser.add_argument(
        "--random-weights", action="store_true", help="run without a checkpoint, for a trial"
    )
    parser.add_argument("--out", type=Path, default=out, help=f"output folder (default: {out})")
    parser.add_argument(
        "--overwrite", action="store_true", help="write into an output folder that is not empty"
    )
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (default: auto)"
    )
    _add_cfg_options(parser)


def add_attention_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the attention of the backbone, which any checkpoint can run with."""
    parser.add_argument(
        "--attention",
        choices=ATTENTION_MODES,
        help="attention of the backbone (default: the config's)",
    )
    parser.add_argument(
        "--window-size",
        type=int,
        metavar="TOKENS",
        help="side of its windows, in tokens of 16 pixels (default: the config's)",
    )


def add_compile_argument(parser: argparse.ArgumentParser) -> None:
    """Add the switch for `uniformer_mm.engine.hooks.speed.CompileHook`."""
    parser.add_argument(
        "--compile",
        action="store_true",
        help="torch.compile the backbone: needs a C++ compiler (CPU) or Triton (GPU), and takes"
        " minutes to start",
    )


def add_fuse_argument(parser: argparse.ArgumentParser) -> None:
    """Add the switch for `uniformer_mm.models.fuse.fuse`."""
    parser.add_argument(
        "--fuse",
        action="store_true",
        help="fold BatchNorm and layer scale into the weights for faster inference",
    )


def add_dtype_argument(parser: argparse.ArgumentParser) -> None:
    """Add the type of `uniformer_mm.models.bf16.to_bf16`."""
    parser.add_argument(
        "--dtype",
        choices=["fp32", "bf16"],
        default="fp32",
        help="bf16: predict in bfloat16, which includes --fuse; CPUs need AMX or AVX512-BF16"
        " (default: fp32)",
    )


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool; a user's mistake is one message on stderr and exit status 2.

    Other errors keep their traceback, followed by a hint where there is one.
    """
    try:
        main()
    except KeyboardInterrupt as error:
        remedy = f"; {error}" if str(error) else ""
        argparse.ArgumentParser().exit(INTERRUPTED, f"interrupted{remedy}\n")
    except Exception as error:
        message = diagnose(error)
        if not message:
            if part_at_fault(error):
                add_hint(error, bug_hint(error))
            raise
        argparse.ArgumentParser().exit(USER_ERROR, f"error: {message}\n")


def _add_cfg_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help="override config settings, e.g. model.backbone.attention=window",
    )
