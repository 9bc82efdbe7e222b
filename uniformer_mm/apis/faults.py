"""Faults of configs, in one line that names the part at fault."""

import inspect
import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from traceback import extract_tb, walk_tb
from typing import Any

from mmengine.config import Config
from mmengine.registry import build_from_cfg
from mmengine.runner import Runner

from uniformer_mm.datasets.redirect import dataset_configs
from uniformer_mm.errors import UserError
from uniformer_mm.tasks import TASKS

SECTIONS = {
    "train": ("train_dataloader", "train_cfg", "optim_wrapper"),
    "test": ("test_dataloader",),
}
"""What a config needs to train and to test, beside a model."""

DATASET_KINDS: dict[str, tuple[type, ...]] = {
    "data_root": (str,),
    "ann_file": (str,),
    "data_prefix": (dict, str),
    "metainfo": (dict,),
    "pipeline": (list, tuple),
}
"""What the tools read of a dataset, and what it has to be where it is given."""

LONGEST = 400
"""Letters of a message: those of mmengine may hold a whole dataset."""

RUNNER_FILE = inspect.getfile(Runner)
RUNNER_STEP = re.compile(r"(?:build|set|setup|register|_init)_(?!hooks?$)(\w+)")
"""Methods in which a Runner takes up a part of its config."""


def check_sections(cfg: Config, splits: Sequence[str] = ()) -> None:
    """Look for what the tools read of a config before anything is built of it.

    Args:
        cfg: The config.
        splits: Of 'train', 'val' and 'test' those whose data will be read.

    Raises:
        UserError: A section is absent, or no dict.
    """
    needed = ["model", *(name for split in splits for name in SECTIONS.get(split, ()))]
    for name in needed:
        _check_dict(cfg, name, cfg.get(name))
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        if cfg.get(name) is not None:
            _check_dict(cfg, name, cfg[name])
            _check_dict(cfg, f"{name}.dataset", cfg[name].get("dataset"))
    if "env_cfg" in cfg:
        _check_dict(cfg, "env_cfg", cfg.env_cfg)
    for name in ("default_hooks", "auto_scale_lr"):
        if cfg.get(name) is not None:
            _check_dict(cfg, name, cfg[name])
    for split, dataset in dataset_configs(cfg):
        for name, kinds in DATASET_KINDS.items():
            value = dataset.get(name)
            if value is not None and not isinstance(value, kinds):
                wanted = " or ".join(kind.__name__ for kind in kinds)
                raise UserError(
                    f"{cfg.filename} needs a {wanted} as {name} of the dataset for {split},"
                    f" but has {value!r}"
                )
    source = cfg.get("load_from")
    if not isinstance(source, str | None):
        raise UserError(
            f"{cfg.filename} needs a checkpoint's name as load_from, or None, but has {source!r}"
        )


def config_fault(error: BaseException) -> str:
    """What is wrong with a config from which something could not be built."""
    part = part_at_fault(error)
    return f"the config cannot be built: {part and part + ': '}{reason(error)}{stack_hint(error)}"


def reason(error: BaseException) -> str:
    """Class and message of an error, in one line that ends with a full stop."""
    message: Any = error.args[0] if isinstance(error, KeyError) and error.args else error
    if isinstance(error, AssertionError) and not str(error):
        message = f"expected {_asserted(error)}"
    text = " ".join(f"{type(error).__name__}: {message}".split()).rstrip(".")
    return f"{text[:LONGEST]} ..." if len(text) > LONGEST else f"{text}."


def part_at_fault(error: BaseException) -> str:
    """The innermost part of a config that was being built; empty if none was.

    That is a type, or else what mmengine's Runner calls it.
    """
    kind: Any = None
    part = ""
    for frame, _ in walk_tb(error.__traceback__):
        code = frame.f_code
        if code is build_from_cfg.__code__:
            kind = frame.f_locals.get("obj_type", kind)
        elif code.co_filename == RUNNER_FILE and (step := RUNNER_STEP.match(code.co_name)):
            part = part or step[1]
    return part if kind is None else getattr(kind, "__name__", str(kind))


def is_raised_by(function: Callable[..., Any], error: BaseException) -> bool:
    """Whether an error comes from within a function."""
    return any(frame.f_code is function.__code__ for frame, _ in walk_tb(error.__traceback__))


def unmet_expectation(error: BaseException) -> str:
    """Where a codebase has met something else than it expects and says nothing; empty if nowhere.

    Its assertions without a message are about settings that contradict each other, such as the
    number of a backbone's outputs and that of a neck's inputs.
    """
    if not isinstance(error, AssertionError) or str(error):
        return ""
    last = extract_tb(error.__traceback__)[-1]
    parts = Path(last.filename).parts
    scope = next((scope for scope in TASKS if scope in parts), None)
    if scope is None:
        return ""
    file = "/".join(parts[parts.index(scope) :])
    return f"the config contradicts itself: {file}, line {last.lineno}, expects {_asserted(error)}."


def _asserted(error: BaseException) -> str:
    """What an assertion has expected, in Python."""
    return (extract_tb(error.__traceback__)[-1].line or "").removeprefix("assert ")


def stack_hint(error: BaseException) -> str:
    """What to install, if the error speaks of a part of the stack that is absent."""
    for task in TASKS.values():
        if find_spec(task.scope) is None and task.scope in str(error):
            return f" {task.scope} is not installed: pip install 'uniformer-mm[{task.extra},lite]'"
    if find_spec("mmcv") is None:
        return " mmcv is not installed: pip install 'uniformer-mm[lite]' (or a compiled mmcv)"
    return ""


def _check_dict(cfg: Config, name: str, section: Any) -> None:
    if not isinstance(section, dict):
        raise UserError(f"{cfg.filename} needs {name}, a dict, but has {section!r}")
