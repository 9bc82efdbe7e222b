"""The config of a run: `load_config` reads it, and only `apply_cli` changes it.

A tool goes ``cfg = load_config(path)``, ``apply_cli(cfg, arguments)``, ``check_data(cfg, splits)``;
`prepare_config` does all three. What builds a Runner takes the result and works on a copy.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log

from uniformer_mm.apis.diagnosis import install_hint, reason
from uniformer_mm.apis.launch import is_first_process
from uniformer_mm.checkpoints.latest import latest_checkpoint
from uniformer_mm.checkpoints.zoo import MIM, find_model
from uniformer_mm.datasets.conversion.coco_files import FORMATS, Split, convert, split_coco
from uniformer_mm.datasets.overrides import SPLITS, dataset_configs, missing_data
from uniformer_mm.datasets.validation.classes import check_class_counts, check_class_names
from uniformer_mm.errors import UserError, add_hint, is_in_own_code
from uniformer_mm.tasks import task_of

SYNTHETIC_FOLDER = Path("data", "synthetic")
"""Folder of generated datasets, relative to the working directory."""

CONVERTED_FOLDER = Path("data", "converted")
"""Folder of annotations converted to COCO format, relative to the working directory."""

SECTIONS = {
    "train": ("train_dataloader", "train_cfg", "optim_wrapper"),
    "test": ("test_dataloader",),
}
"""Sections that training and testing need, besides a model."""

KINDS: dict[str, tuple[type, ...]] = {
    **{f"{split}_dataloader": (dict,) for split in SPLITS},
    "default_hooks": (dict,),
    "auto_scale_lr": (dict,),
    "custom_hooks": (list, tuple),
    "load_from": (str,),
}
"""Types of the sections that the tools read, where they are given."""


DATASET_KINDS: dict[str, tuple[type, ...]] = {
    "data_root": (str,),
    "ann_file": (str,),
    "data_prefix": (dict, str),
    "metainfo": (dict,),
    "pipeline": (list, tuple),
}
"""Types of the settings of a dataset."""

HOOKS = {
    "fuse": "mmengine.FuseHook",
    "bf16": "mmengine.BFloat16Hook",
    "compile": "mmengine.CompileHook",
}
"""Hooks by option."""


def find_config(name: str | Path) -> Path:
    """The file of a config.

    Args:
        name: Path, also one below the installed package (`configs/det/NAME.py`);
            `PACKAGE::TASK/NAME.py`; or the name of a model of the zoo.

    Raises:
        UserError: There is no such config.
    """
    path, text = Path(name).expanduser(), str(name)
    if path.is_file():
        return path
    if "::" in text:
        try:
            return Path(Config._get_cfg_path(text, "")[0])
        except (AssertionError, OSError, ValueError, ImportError) as error:
            raise UserError(f"no config {name}: {error}") from error
    if path.name == text and not path.suffix:
        return MIM / find_model(text).config
    if not (MIM / path).is_file():
        raise UserError(f"no config file {name}")
    return MIM / path


def load_config(name: str | Path) -> Config:
    """Read a config.

    Args:
        name: What `find_config` takes.

    Raises:
        UserError: There is no such config, or the file is not a config.
    """
    path = find_config(name)
    try:
        cfg = Config.fromfile(path)
    except RecursionError as error:
        fault = "_base_ leads back to the same file, from it or from one of its bases"
        if "decoding a JSON" in str(error):
            fault = "its lists or objects are nested too deeply"
        raise UserError(f"{path} cannot be read as a config: {fault}") from error
    except (Exception, SystemExit) as error:
        if is_in_own_code(error):  # of a module that it imports
            add_hint(error, f"raised while {path} was read{install_hint(error)}")
            raise
        message = f"{reason(error)}{install_hint(error)}"
        raise UserError(f"{path} cannot be read as a config: {message}") from error
    check_sections(cfg)
    return cfg


def prepare_config(arguments: argparse.Namespace, splits: Sequence[str]) -> Config:
    """The config of a command line, with its data checked.

    Args:
        arguments: From a parser with `uniformer_mm.apis.cli.add_config_arguments`.
        splits: The splits ('train', 'val', 'test') whose data will be read.

    Raises:
        UserError: The config, an option or the data has a fault.
    """
    os.environ.setdefault("LOCAL_RANK", str(getattr(arguments, "local_rank", 0)))
    cfg = load_config(arguments.config)
    check_sections(cfg, splits)
    apply_cli(cfg, arguments)
    check_sections(cfg, splits)
    check_data(cfg, splits)
    return cfg


def apply_cli(cfg: Config, arguments: argparse.Namespace) -> None:
    """Apply the options of a command line to a config in place, then adapt it to the machine.

    Raises:
        UserError: An option does not fit the config.
    """
    option = vars(arguments).get
    default = Path("work_dirs", Path(arguments.config).stem)
    cfg.work_dir = option("work_dir") or cfg.get("work_dir") or str(default)
    cfg.launcher = option("launcher", "none")
    if option("synthetic", False) is not False:
        task_of(cfg).use_synthetic_data(cfg, arguments.synthetic, SYNTHETIC_FOLDER)
    _use_own_data(cfg, arguments)
    override(cfg, option("cfg_options"))
    set_attention(cfg, option("attention"), option("window_size"))
    if option("amp"):
        cfg.optim_wrapper.type = "AmpOptimWrapper"
        cfg.optim_wrapper.setdefault("loss_scale", "dynamic")
    if option("auto_scale_lr"):
        if "base_batch_size" not in cfg.get("auto_scale_lr", {}):
            raise UserError("--auto-scale-lr needs auto_scale_lr.base_batch_size in the config")
        cfg.auto_scale_lr.enable = True
    if option("load_from"):
        cfg.load_from = arguments.load_from
    if option("resume") or ("resume" in arguments and cfg.get("resume")):
        _resume(cfg, arguments.resume or cfg.get("load_from") or "auto")
    if option("checkpoint"):
        cfg.load_from, cfg.resume = arguments.checkpoint, False
    if option("show") or option("show_dir"):
        task_of(cfg).draw_predictions(cfg, arguments.show_dir, arguments.show)
        cfg.default_hooks.visualization.wait_time = arguments.wait_time
    if option("tta"):
        task_of(cfg).use_test_time_augmentation(cfg)
    chosen = {name for name in HOOKS if option(name)}
    if option("dtype") == "bf16":
        chosen = chosen - {"fuse"} | {"bf16"}  # which fuses as well
    if hooks := [{"type": kind} for name, kind in HOOKS.items() if name in chosen]:
        cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), *hooks]
    adapt_to_machine(cfg)


def override(cfg: Config, options: dict[str, Any] | None) -> None:
    """Apply `--cfg-options`, settings by dotted name, to a config."""
    try:
        cfg.merge_from_dict(options or {})
    except (KeyError, TypeError, AssertionError) as error:
        name = cfg.filename or "the config"
        raise UserError(f"cfg_options do not fit {name}: {error}") from error


def set_attention(cfg: Config, attention: str | None, window_size: int | None) -> None:
    """Set the attention of a UniFormer backbone; None leaves what the config says.

    All modes and window sizes have the same parameters.

    Raises:
        UserError: The config has no such backbone, or `window_size` is without effect.
    """
    options = {"attention": attention, "window_size": window_size}
    options = {name: value for name, value in options.items() if value is not None}
    if not options:
        return
    backbone = (cfg.get("model") or {}).get("backbone") or {}
    kind = str(backbone.get("type"))
    if kind.rpartition(".")[-1] != "UniFormer":
        raise UserError(f"the attention can be set for UniFormer, not for the backbone {kind}")
    backbone.update(options)
    if window_size is not None and backbone.get("attention", "global") == "global":
        raise UserError("global attention has no windows: choose window or hybrid attention")


def adapt_to_machine(cfg: Config) -> None:
    """Without a GPU, set single precision, plain BatchNorm and the gloo backend.

    AMP wrappers refuse CPUs, and SyncBN has no CPU version.
    """
    if torch.cuda.is_available():
        return
    wrapper = cfg.get("optim_wrapper") or {}
    if wrapper.get("type") == "AmpOptimWrapper":
        print_log("no GPU: training in single instead of mixed precision", logger="current")
        wrapper["type"] = "OptimWrapper"
        for option in ("loss_scale", "dtype", "use_fsdp"):
            wrapper.pop(option, None)
    replace_sync_batch_norm(cfg.model)
    cfg.pop("sync_bn", None)  # mmengine's switch for all norms
    if cfg.get("launcher", "none") != "none":
        cfg.env_cfg.dist_cfg.backend = "gloo"
        cfg.model_wrapper_cfg = {
            "type": "MMDistributedDataParallel",
            "device_ids": None,
            "broadcast_buffers": False,
        }


def replace_sync_batch_norm(config: Any) -> None:
    """Turn every SyncBN of a model config into BN."""
    if isinstance(config, dict):
        if config.get("type") == "SyncBN":
            config["type"] = "BN"
        config = list(config.values())
    if isinstance(config, list | tuple):
        for value in config:
            replace_sync_batch_norm(value)


def check_sections(cfg: Config, splits: Sequence[str] = ()) -> None:
    """Check the types of the sections that the tools read before anything is built from them."""
    for name in ("model", *(name for split in splits for name in SECTIONS.get(split, ()))):
        _check_kind(cfg, name, cfg.get(name), (dict,))
    for name, kinds in KINDS.items():
        if cfg.get(name) is not None:
            _check_kind(cfg, name, cfg[name], kinds)
    for name in (f"{split}_dataloader" for split in SPLITS):
        if cfg.get(name) is not None:
            _check_kind(cfg, f"{name}.dataset", cfg[name].get("dataset"), (dict,))
    if "env_cfg" in cfg:
        _check_kind(cfg, "env_cfg", cfg.env_cfg, (dict,))
    for split, dataset in dataset_configs(cfg):
        for name, kinds in DATASET_KINDS.items():
            if dataset.get(name) is not None:
                _check_kind(cfg, f"{name} in the dataset for {split}", dataset[name], kinds)
    if "train" in splits:
        for name in ("max_iters", "max_epochs", "val_interval", "val_begin"):
            _check_count(f"train_cfg.{name}", cfg.train_cfg.get(name, 1), 1)
        saving = (cfg.get("default_hooks") or {}).get("checkpoint") or {}
        _check_count("default_hooks.checkpoint.interval", saving.get("interval", -1), -1)


def check_data(cfg: Config, splits: Sequence[str]) -> None:
    """Check that the data of a config exist, and that its model is for their classes.

    Only the first process checks the content of files. If it ends with an error, the launcher
    (torchrun, mpirun, or srun with `--kill-on-bad-exit`) ends the others.
    """
    root, missing = missing_data(cfg, splits)
    if missing:
        listed = "\n".join(f"    {path}" for path in missing)
        raise UserError(f"the dataset is missing:\n{listed}\n{task_of(cfg).data_help(root)}")
    check_class_names(cfg, splits)
    check_class_counts(cfg, splits)
    if is_first_process(cfg.launcher):
        task_of(cfg).check_data(cfg, splits)


def _check_kind(cfg: Config, name: str, value: Any, kinds: tuple[type, ...]) -> None:
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise UserError(f"{cfg.filename} needs a {wanted} as {name}, got {value!r}")


def _check_count(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(f"{name} must be an integer >= {least}, got {value!r}")


def own_data(arguments: argparse.Namespace) -> str:
    """Name of the option by which a command line replaces the datasets; empty without one."""
    options = vars(arguments)
    return next((name for name in ("coco", *FORMATS) if options.get(name)), "")


def _use_own_data(cfg: Config, arguments: argparse.Namespace) -> None:
    """Point a config at the dataset of `--coco`, or of another format, converted to COCO's."""
    option, name = vars(arguments).get, own_data(arguments)
    split = Split(option("val_share"), option("split_seed", 0))
    if split.share is not None and not name:
        flags = ", ".join(f"--{name}" for name in ("coco", *FORMATS))
        raise UserError(f"--val-share splits the dataset of one of {flags}")
    if split.share is not None and not 0 < split.share < 1:
        raise UserError(f"--val-share must be between 0 and 1, got {split.share}")
    if not name:
        return
    task = task_of(cfg)
    if not task.takes_coco_data:
        raise UserError(
            f"--{name} is for detection and pose, not for configs of {task.scope}: write a config"
            " for your data, as in docs/own_dataset.md"
        )
    if name == "coco":
        images, *files = arguments.coco
        if len(files) not in (1, 2):
            raise UserError("--coco takes IMAGE_FOLDER TRAIN.json [VAL.json]")
        if split.share is not None:
            if len(files) == 2:
                raise UserError("--val-share splits one file: leave out VAL.json of --coco")
            files = list(split_coco(Path(files[0]), CONVERTED_FOLDER, split))
    else:
        converted = convert(name, Path(option(name, "")), CONVERTED_FOLDER, split)
        images, files = converted.images, [converted.train, converted.val]
    task.use_coco_data(
        cfg,
        images={"train": images, "val": images},
        annotations={"train": files[0], "val": files[-1]},
    )


def _resume(cfg: Config, checkpoint: str) -> None:
    """Resume from a checkpoint, or from the newest intact one in the working directory ('auto').

    Without any, 'auto' starts as the config says, so that one command serves for a job that is
    restarted.
    """
    found = latest_checkpoint(Path(cfg.work_dir)) if checkpoint == "auto" else checkpoint
    cfg.resume = found is not None
    if found:
        cfg.load_from = str(found)
    else:
        print_log(f"no checkpoint in {cfg.work_dir} yet: starting from scratch", logger="current")
