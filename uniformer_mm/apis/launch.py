"""From a config file and command-line options to an mmengine Runner on the machine at hand."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import CheckpointLoader, Runner

from uniformer_mm.apis.faults import bug_hint, check_sections, config_fault, reason, stack_hint
from uniformer_mm.checkpoints import read_checkpoint
from uniformer_mm.engine.hooks.check_samples import CheckSamplesHook
from uniformer_mm.engine.hooks.fit_checkpoint import FitCheckpointHook
from uniformer_mm.errors import UserError, add_hint, is_in_own_code

BUILD_ERRORS = (
    *(TypeError, ValueError, LookupError, AttributeError, ImportError),
    *(RuntimeError, AssertionError, ArithmeticError),
)
"""What wrong values in a config may raise; other errors, of disks, are no fault of the config."""


def load_config(path: str, work_dir: str | None = None, launcher: str = "none") -> Config:
    """Read a config; its name decides the default working directory.

    Raises:
        UserError: There is no such file, or it cannot be read as a config.
    """
    if not Path(path).is_file():
        raise UserError(f"no config file {path}")
    try:
        cfg = Config.fromfile(path)
    except RecursionError as error:
        fault = "_base_ leads from it, or from one of its bases, back to the same file"
        if "decoding a JSON" in str(error):
            fault = "its lists or objects are nested too deeply"
        raise UserError(f"{path} cannot be read as a config: {fault}") from error
    except (Exception, SystemExit) as error:
        if is_in_own_code(error):  # of a module that it imports
            add_hint(error, f"it came up while {path} was read{stack_hint(error)}")
            raise
        raise UserError(
            f"{path} cannot be read as a config: {reason(error)}{stack_hint(error)}"
        ) from error
    check_sections(cfg)
    cfg.work_dir = work_dir or cfg.get("work_dir") or str(Path("work_dirs", Path(path).stem))
    cfg.launcher = launcher
    return cfg


def use_mixed_precision(cfg: Config) -> None:
    """Train with automatic mixed precision and a dynamic loss scale."""
    cfg.optim_wrapper.type = "AmpOptimWrapper"
    cfg.optim_wrapper.setdefault("loss_scale", "dynamic")


def scale_learning_rate(cfg: Config) -> None:
    """Scale the learning rate with the total batch size.

    Raises:
        UserError: The config does not say for which batch size its learning rate is.
    """
    if "base_batch_size" not in cfg.get("auto_scale_lr", {}):
        raise UserError("--auto-scale-lr needs auto_scale_lr.base_batch_size in the config")
    cfg.auto_scale_lr.enable = True


def adapt_to_machine(cfg: Config) -> None:
    """Without a GPU: single precision, plain BatchNorm, and gloo between processes.

    AMP wrappers refuse CPUs, SyncBN has no CPU version, and mmengine's launchers select a CUDA
    device. In a distributed run the process group is joined here, before mmengine would do so.
    """
    if torch.cuda.is_available():
        return
    wrapper = cfg.get("optim_wrapper", {})
    if wrapper.get("type") == "AmpOptimWrapper":
        print_log("no GPU: training in single instead of mixed precision", logger="current")
        wrapper.type = "OptimWrapper"
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
        join_cpu_process_group(cfg.launcher)


def is_first_process(launcher: str) -> bool:
    """Whether this is the process of rank 0, before a process group is joined.

    What it finds wrong with data ends it, and with it the others: torchrun, mpirun and srun
    (`--kill-on-bad-exit`) see to that.
    """
    names = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")
    rank = next((os.environ[name] for name in names if os.environ.get(name)), "0")
    return launcher == "none" or rank == "0"


def join_cpu_process_group(launcher: str) -> None:
    """Join the gloo group whose address torchrun or Slurm put into the environment."""
    if torch.distributed.is_initialized():
        return
    if launcher == "slurm":
        os.environ.setdefault("RANK", os.environ["SLURM_PROCID"])
        os.environ.setdefault("WORLD_SIZE", os.environ["SLURM_NTASKS"])
        os.environ.setdefault("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))
        os.environ.setdefault("MASTER_PORT", "29500")
        os.environ.setdefault("MASTER_ADDR", os.environ.get("SLURM_LAUNCH_NODE_IPADDR", ""))
    missing = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR") if not os.environ.get(name)]
    if missing:
        raise UserError(
            f"--launcher {launcher} needs {', '.join(missing)} in the environment:"
            " start through tools/dist_train.sh or tools/slurm_train.sh"
        )
    torch.distributed.init_process_group("gloo")


def add_hook(cfg: Config, name: str) -> None:
    """Add a hook of `uniformer_mm.engine.hooks` to a config."""
    cfg.custom_hooks = [*cfg.get("custom_hooks", []), {"type": f"mmengine.{name}"}]


def replace_sync_batch_norm(config: Any) -> None:
    """Turn every SyncBN of a model config into BN."""
    if isinstance(config, dict):
        if config.get("type") == "SyncBN":
            config["type"] = "BN"
        for value in config.values():
            replace_sync_batch_norm(value)
    elif isinstance(config, list | tuple):
        for value in config:
            replace_sync_batch_norm(value)


def build_runner(cfg: Config, exact_checkpoint: bool, new_heads: bool = False) -> Runner:
    """The Runner of a config.

    Args:
        cfg: The config.
        exact_checkpoint: Whether a checkpoint has to hold all of the model (testing, resuming);
            otherwise the backbone is enough (fine-tuning).
        new_heads: Whether heads of a checkpoint that do not fit start anew.

    Raises:
        UserError: Something in the config has no such option or a wrong value.
    """
    # Whatever else loads a file (init_cfg of other models ...) does it as we do.
    CheckpointLoader.register_scheme(
        prefixes=["", "http://", "https://", "hf://"], loader=read_checkpoint, force=True
    )
    with building():
        runner = RUNNERS.build(cfg) if "runner_type" in cfg else Runner.from_cfg(cfg)
    runner.register_hook(FitCheckpointHook(exact_checkpoint, new_heads))
    runner.register_hook(CheckSamplesHook())
    return runner


@contextmanager
def building() -> Iterator[None]:
    """Where something is built from a config, tell its faults from bugs.

    Raises:
        UserError: Something in the config has no such option or a wrong value. What may be a bug
            is raised as it is, with a hint.
    """
    try:
        yield
    except BUILD_ERRORS as error:
        if message := config_fault(error):
            raise UserError(message) from error
        add_hint(error, bug_hint(error))
        raise
