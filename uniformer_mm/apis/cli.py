"""What the command-line tools share: arguments, and errors without tracebacks."""

import argparse
import errno
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from uniformer_mm.apis.faults import (
    bug_hint,
    check_sections,
    config_fault,
    is_raised_by,
    part_at_fault,
    unmet_expectation,
)
from uniformer_mm.apis.launch import adapt_to_machine, is_first_process, load_config
from uniformer_mm.apis.model_faults import model_fault
from uniformer_mm.datasets.overrides import missing_data
from uniformer_mm.datasets.validation.classes import check_class_counts, check_class_names
from uniformer_mm.errors import UserError, add_hint, causes_of, is_in_own_code
from uniformer_mm.models import UniFormer
from uniformer_mm.tasks import task_of

SYNTHETIC_FOLDER = Path("data", "synthetic")
"""Where generated sets are kept, below the working directory."""

USER_ERROR = 2
"""Exit status after a mistake of the user's; the message is on stderr."""

MISMATCH = r"expected input.* channels, but got \d+ channels|mat1 and mat2 shapes .*\)"
"""What torch says of a layer whose input has other channels."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""What writing to a disk fails with."""


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
    """The arguments of `prepare_config`."""
    add_data_arguments(parser)
    parser.add_argument("--work-dir", help="for logs and results (work_dirs/CONFIG_NAME)")
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        default="none",
        help="how several processes were started (none)",
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Those arguments of `prepare_config` that say what the data are; the others get defaults."""
    parser.set_defaults(work_dir=None, launcher="none", local_rank=0)
    parser.add_argument("config", help="config file")
    data = parser.add_mutually_exclusive_group()
    data.add_argument(
        "--synthetic",
        nargs="?",
        type=int,
        default=False,
        metavar="N",
        help="run on N generated training images or videos, made on first use, with sizes and"
        " schedule shrunken to match",
    )
    data.add_argument(
        "--coco",
        nargs="+",
        metavar="PATH",
        help="run on data in COCO's format: IMAGE_FOLDER TRAIN.json [VAL.json]",
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help="override settings of the config, e.g. model.backbone.attention=window",
    )


def add_model_arguments(parser: argparse.ArgumentParser, out: Path) -> None:
    """The arguments of every tool that looks at files with a model.

    Args:
        parser: Gets them.
        out: Folder for the results, unless the user names one.
    """
    parser.add_argument(
        "--checkpoint",
        metavar="CHECKPOINT",
        help="file, URL, hf://OWNER/REPOSITORY/FILE, or zoo name (a zoo model's published weights)",
    )
    parser.add_argument(
        "--random-weights", action="store_true", help="do without a checkpoint, to try things out"
    )
    parser.add_argument("--out", type=Path, default=out, help=f"({out})")
    parser.add_argument("--overwrite", action="store_true", help="write into a folder in use")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (auto)")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")


def add_compile_argument(parser: argparse.ArgumentParser) -> None:
    """The switch for `uniformer_mm.engine.hooks.speed.CompileHook`."""
    parser.add_argument(
        "--compile",
        action="store_true",
        help="torch.compile the backbone: needs a C++ compiler (CPU) or Triton (GPU), and minutes",
    )


def prepare_config(arguments: argparse.Namespace, splits: Sequence[str]) -> Config:
    """The config of the common arguments, with its data in place.

    Args:
        arguments: What the parser of `make_parser` returned.
        splits: Of 'train', 'val' and 'test' those whose data will be read.

    Raises:
        UserError: The config, an option or the data has a fault.
    """
    os.environ.setdefault("LOCAL_RANK", str(arguments.local_rank))
    cfg = load_config(arguments.config, arguments.work_dir, arguments.launcher)
    check_sections(cfg, splits)
    if arguments.synthetic is not False:
        task_of(cfg).use_synthetic_data(cfg, arguments.synthetic, SYNTHETIC_FOLDER)
    elif arguments.coco:
        if len(arguments.coco) not in (2, 3):
            raise UserError("--coco takes IMAGE_FOLDER TRAIN.json [VAL.json]")
        images, *files = arguments.coco
        task_of(cfg).use_coco_data(
            cfg,
            images={"train": images, "val": images},
            annotations={"train": files[0], "val": files[-1]},
        )
    override(cfg, arguments.cfg_options)
    check_sections(cfg, splits)
    root, missing = missing_data(cfg, splits)
    if missing:
        listed = "\n".join(f"    {path}" for path in missing)
        raise UserError(f"the dataset is missing:\n{listed}\n{task_of(cfg).data_help(root)}")
    check_class_names(cfg, splits)
    check_class_counts(cfg, splits)
    if is_first_process(cfg.launcher):
        task_of(cfg).check_data(cfg, splits)
    adapt_to_machine(cfg)
    return cfg


def override(cfg: Config, options: dict[str, Any] | None) -> None:
    """Apply `--cfg-options` to a config.

    Raises:
        UserError: They do not fit it.
    """
    try:
        cfg.merge_from_dict(options or {})
    except (KeyError, TypeError, AssertionError) as error:
        raise UserError(f"--cfg-options does not fit {cfg.filename}: {error}") from error


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool; a user's mistake is one message on stderr and exit status 2.

    Everything else keeps its traceback, and a hint after it where there is one.
    """
    try:
        main()
    except KeyboardInterrupt as error:
        remedy = f"; {error}" if str(error) else ""
        argparse.ArgumentParser().exit(130, f"interrupted{remedy}\n")
    except Exception as error:
        message = explanation(error)
        if not message:
            if part_at_fault(error):
                add_hint(error, bug_hint(error))
            raise
        argparse.ArgumentParser().exit(USER_ERROR, f"error: {message}\n")


def explanation(error: BaseException) -> str:
    """A mistake of the user's in plain words; empty if the error is, or may be, a bug.

    Errors from the worker processes of a data loader hold the original one's traceback as text.
    What comes from outside, such as the end of such a process, may come up in the middle of code
    that turns it into an error of its own: then it is the cause or the context of that.
    """
    return _mishap(error) or _fault(error) or next(filter(None, map(_mishap, causes_of(error))), "")


def _mishap(error: BaseException) -> str:
    """What has come from outside of all code; empty if nothing has."""
    text = str(error)
    if isinstance(error, UserError):
        return text.rsplit("UserError: ", 1)[-1].rstrip()
    if re.search(r"DataLoader worker \(pid.*\) (is killed|exited unexpectedly)", text):
        return (
            f"a process that reads data has ended: {text.splitlines()[0].rstrip('.')}. Most often"
            " memory ran out (of the machine, or shared memory: df -h /dev/shm). Reduce"
            " train_dataloader's num_workers or batch_size."
        )
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return f"cannot write {error.filename or 'logs'}: {error.strerror}. Make room."
    return ""


def _fault(error: BaseException) -> str:
    """What is wrong with data or a config; empty if that is not certain."""
    text = str(error)
    unreadable = re.findall(r"failed to load image: ([^`{}\n]+)", text)
    if unreadable:
        return (
            f"{unreadable[-1]} cannot be read: it is truncated, or not an image."
            " Replace the file, or take it out of the annotations."
        )
    if is_in_own_code(error):
        return ""
    absent = re.search(r"No such file or directory: '(.+?)'", text)
    if absent and (isinstance(error, FileNotFoundError) or "`FileNotFoundError`" in text):
        return (
            f"there is no file {absent[1]}."
            " Put it there, or take it out of the annotations or of the config."
        )
    if fault := model_fault(error):
        return fault
    mismatch = re.search(MISMATCH, text)
    if mismatch and isinstance(error, RuntimeError):
        return (
            f"the parts of the model do not fit together: {mismatch[0]}. Compare in_channels of the"
            " neck and the heads with embed_dims and out_indices of the backbone."
        )
    if is_raised_by(UniFormer._check_input, error):
        return f"the parts of the model do not fit together, or not to the data: {text}."
    return (part_at_fault(error) and config_fault(error)) or unmet_expectation(error)
