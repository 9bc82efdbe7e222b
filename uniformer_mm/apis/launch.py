"""From a config to an mmengine Runner, in one process or in several."""

import copy
import os

import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import CheckpointLoader, Runner

from uniformer_mm.apis.diagnosis import building
from uniformer_mm.checkpoints import locate, read_checkpoint
from uniformer_mm.engine.hooks.check_samples import CheckSamplesHook
from uniformer_mm.engine.hooks.fit_checkpoint import FitCheckpointHook
from uniformer_mm.errors import UserError


def build_runner(cfg: Config, exact_checkpoint: bool, new_heads: bool = False) -> Runner:
    """Build the Runner of a config.

    Args:
        cfg: The config; it stays as it is.
        exact_checkpoint: Whether `load_from` must hold all of the model (testing, resuming);
            otherwise the backbone is enough (fine-tuning).
        new_heads: Whether to re-initialize heads whose number of classes differs.

    Raises:
        UserError: The config has an unknown option or a wrong value.
        CheckpointError: There is no checkpoint at `load_from`.
    """
    cfg = copy.deepcopy(cfg)
    if cfg.get("load_from"):
        cfg.load_from = str(locate(cfg.load_from))
    if cfg.get("launcher", "none") != "none" and not torch.cuda.is_available():
        join_cpu_process_group(cfg.launcher)
    # Other code that loads a file (init_cfg of other models ...) takes the same sources.
    CheckpointLoader.register_scheme(
        prefixes=["", "http://", "https://", "hf://"], loader=read_checkpoint, force=True
    )
    with building():
        runner = RUNNERS.build(cfg) if "runner_type" in cfg else Runner.from_cfg(cfg)
    runner.register_hook(FitCheckpointHook(exact_checkpoint, new_heads))
    runner.register_hook(CheckSamplesHook())
    return runner


def is_first_process(launcher: str) -> bool:
    """Whether this is the process of rank 0, before a process group is joined."""
    names = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")
    rank = next((os.environ[name] for name in names if os.environ.get(name)), "0")
    return launcher == "none" or rank == "0"


def join_cpu_process_group(launcher: str) -> None:
    """Join the gloo group whose address torchrun or Slurm put into the environment.

    mmengine's launchers would select a CUDA device.
    """
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
