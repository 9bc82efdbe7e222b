"""Training that can be stopped at any moment, and goes on as if it had not been."""

import copy
from pathlib import Path
from tempfile import TemporaryFile

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import OPTIMIZERS, DefaultScope
from mmengine.runner import Runner, TestLoop

from uniformer_mm.apis.cli import explanation
from uniformer_mm.apis.faults import is_raised_by, reason
from uniformer_mm.apis.launch import build_runner, building, is_first_process
from uniformer_mm.apis.lock import lock, unlock
from uniformer_mm.checkpoints import CheckpointError, locate
from uniformer_mm.checkpoints.latest import latest_checkpoint
from uniformer_mm.errors import UserError, add_hint
from uniformer_mm.hooks.finite_loss import FiniteLossHook
from uniformer_mm.hooks.safe_checkpoint import SafeCheckpointHook
from uniformer_mm.hooks.stop_signal import StopSignalHook
from uniformer_mm.loops import ResumableEpochBasedTrainLoop, ResumableIterBasedTrainLoop
from uniformer_mm.models.archs import check_int
from uniformer_mm.tasks import task_of
from uniformer_mm.tasks.task import step_name

RESUMABLE_LOOPS = {
    "EpochBasedTrainLoop": ResumableEpochBasedTrainLoop,
    "IterBasedTrainLoop": ResumableIterBasedTrainLoop,
}
"""By the types of mmengine's loops in whose places they go."""


def resume_from(cfg: Config, checkpoint: str) -> None:
    """Go on from a checkpoint, or from the newest whole one in the working directory ('auto').

    Where there is none yet, 'auto' starts as the config says: a job that is started over and over
    needs only one command.

    Raises:
        UserError: There is no such checkpoint, or all of the working directory are damaged.
    """
    path = latest_checkpoint(Path(cfg.work_dir)) if checkpoint == "auto" else locate(checkpoint)
    cfg.resume = path is not None
    if path is None:
        print_log(f"no checkpoint in {cfg.work_dir} yet: training begins", logger="current")
    else:
        cfg.load_from = str(path)


def build_trainer(cfg: Config, new_heads: bool = False) -> Runner:
    """The Runner of a training that can be resumed, and that stops where it has gone wrong.

    Args:
        cfg: Changed in place.
        new_heads: Whether heads of a checkpoint that do not fit start anew.

    Raises:
        UserError: Something in the config is wrong, or the working directory cannot be written, or
            is in use.
    """
    _check_writable(Path(cfg.work_dir))
    if is_first_process(cfg.get("launcher", "none")):
        lock(Path(cfg.work_dir))
    with building():
        make_resumable(cfg)
    _check_optimizer(cfg)
    runner = build_runner(cfg, bool(cfg.get("resume")), new_heads)
    runner.register_hook(FiniteLossHook())
    return runner


def make_resumable(cfg: Config) -> None:
    """Exchange mmengine's training loop and checkpoint hook for those that resume exactly.

    Other types stay as they are.
    """
    loop = cfg.train_cfg
    for name in ("max_iters", "max_epochs", "val_interval", "val_begin"):
        if name in loop:
            check_int(f"train_cfg.{name}", loop[name], 1)
    if "by_epoch" in loop:
        loop.type = "EpochBasedTrainLoop" if loop.pop("by_epoch") else "IterBasedTrainLoop"
    resumable = RESUMABLE_LOOPS.get(loop.type.removeprefix("mmengine."))
    if resumable:
        loop.type = f"mmengine.{resumable.__name__}"
    cfg.default_hooks = cfg.get("default_hooks") or {}
    hook = cfg.default_hooks.setdefault("checkpoint", {"interval": 1})
    if hook and hook.setdefault("type", "CheckpointHook") == "CheckpointHook":
        hook["type"] = f"mmengine.{SafeCheckpointHook.__name__}"
        check_int("default_hooks.checkpoint.interval", hook.get("interval", -1), -1)
    # For other tools that read the config which mmengine leaves in the working directory.
    custom = cfg.get("custom_imports") or {}
    imports = custom.get("imports") or []
    imports = [imports] if isinstance(imports, str) else list(imports)
    ours = ["uniformer_mm", "uniformer_mm.loops", SafeCheckpointHook.__module__]
    imports += [module for module in ours if module not in imports]
    cfg.custom_imports = {**custom, "imports": imports}


def train(runner: Runner) -> None:
    """Train; if that ends before its time, say from where it can go on.

    Raises:
        CheckpointError: What training should go on from does not fit.
        KeyboardInterrupt: As it came, with the same advice.
        UserError: Something that the user can mend came up.
        SystemExit: SIGTERM or SIGUSR1 came; the state is saved.
    """
    hook = StopSignalHook()
    runner.register_hook(hook)
    try:
        with hook.listening():
            runner.train()
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(_resuming(runner)) from error
    except Exception as error:
        if not isinstance(error, UserError) and is_raised_by(Runner.resume, error):
            raise CheckpointError(
                f"training cannot go on from {runner._load_from}: {reason(error)} To start from its"
                " weights, give it as load_from without resume (--load-from)"
            ) from error
        if not Path(runner.log_dir).is_dir():
            raise UserError(
                f"the working directory {runner.work_dir} was deleted or moved while training was"
                f" writing into it. {_resuming(runner)}"
            ) from error
        message = explanation(error)
        if not message:
            add_hint(error, _resuming(runner))
        if not message or isinstance(error, CheckpointError):
            raise
        raise UserError(f"{message.rstrip('.')}. {_resuming(runner)}") from error
    finally:
        unlock(Path(runner.work_dir))


def draw_samples(runner: Runner, folder: Path) -> None:
    """Draw the predictions of a trained model for a few samples of its test data.

    Its config stays as it is, in memory and in the working directory. Without a visualization hook
    there are no pictures.

    Args:
        runner: Has trained.
        folder: Where the pictures go.
    """
    cfg = copy.deepcopy(runner.cfg)
    if not cfg.default_hooks.get("visualization"):
        return
    replaced = step_name(cfg.default_hooks.visualization)
    task_of(cfg).draw_samples(cfg, folder)
    runner.hooks[:] = [hook for hook in runner.hooks if type(hook).__name__ != replaced]
    runner.register_hook(cfg.default_hooks.visualization)
    runner._test_loop = TestLoop(runner, cfg.test_dataloader, evaluator=[])
    runner.test()


def _resuming(runner: Runner) -> str:
    path = latest_checkpoint(Path(runner.work_dir))
    return f"--resume goes on from {path}." if path else "No checkpoint has been saved yet."


def _check_optimizer(cfg: Config) -> None:
    """Look for the optimizer, whose absence mmengine does not explain."""
    optimizer = cfg.optim_wrapper.get("optimizer")
    kind = optimizer.get("type") if isinstance(optimizer, dict) else None
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope")):
        if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
            raise UserError(f"optim_wrapper.optimizer.type: no optimizer {kind} is registered")


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"cannot write to {folder}: {error.strerror}. Choose another --work-dir"
        ) from error
