"""Faults of configs, in one line that names the part at fault."""

import inspect
import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from traceback import extract_tb, walk_tb
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import build_from_cfg
from mmengine.runner import Runner

from uniformer_mm.datasets.overrides import dataset_configs
from uniformer_mm.errors import STACK, UserError, is_in_own_code, package_of
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
"""Characters of a message: those of mmengine may hold a whole dataset."""

UNFIT_OPTION = re.compile(
    r"unexpected keyword argument '(\w+)'|missing \d+ required|multiple values for .*'(\w+)'"
)
"""What Python says of a call whose arguments do not fit."""

CONFIG_FILE = inspect.getfile(ConfigDict)
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
    if not isinstance(cfg.get("custom_hooks"), list | tuple | None):
        raise UserError(
            f"{cfg.filename} needs a list as custom_hooks, but has {cfg.custom_hooks!r}"
        )
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
    """What is wrong with a config from which something could not be built; empty if it is a bug.

    Certain are: options that a type does not have or lacks, what a check of the stack has refused,
    and packages that are not installed.
    """
    if not (_is_of_options(error) or _is_refused(error) or _lacks_package(error)):
        return ""
    part = part_at_fault(error)
    return f"the config cannot be built: {part and part + ': '}{reason(error)}{stack_hint(error)}"


def bug_hint(error: BaseException) -> str:
    """What may help with an error that is not certainly one of the config."""
    part = part_at_fault(error)
    where = f"while {part} was built from the config" if part else "while the config was used"
    return (
        f"it came up {where}. If a value there is not what that code expects, change it; otherwise"
        f" the code has a bug.{stack_hint(error)}"
    )


def _is_of_options(error: BaseException) -> bool:
    """Whether mmengine has called something with options of the config that do not fit it."""
    if not isinstance(error, TypeError) or not (unfit := UNFIT_OPTION.search(str(error))):
        return False
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    options = (f.f_locals.get("args", ()) for f in frames if f.f_code is build_from_cfg.__code__)
    return package_of(frames[-1]) == "mmengine" or any(unfit[1] in names for names in options)


def _is_refused(error: BaseException) -> bool:
    """Whether a check of the stack has raised an error, and no bug in code that calls it."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    statement = (extract_tb(error.__traceback__)[-1].line or "").partition(" ")[0]
    checked = statement in ("raise", "assert") and package_of(frame) in STACK
    if isinstance(error, AttributeError):  # which torch's modules raise as well: a key of a config
        checked = frame.f_code.co_filename == CONFIG_FILE
    return checked and not is_in_own_code(error)


def _lacks_package(error: BaseException) -> bool:
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return name in STACK and find_spec(name) is None


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
