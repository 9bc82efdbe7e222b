"""Exactly resumable training: `train(build_trainer(cfg))`."""

import copy
from pathlib import Path
from tempfile import TemporaryFile
from traceback import walk_tb

from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, DefaultScope
from mmengine.runner import Runner, TestLoop

from uniformer_mm.apis.diagnosis import building, diagnose, reason
from uniformer_mm.apis.launch import build_runner, is_first_process
from uniformer_mm.apis.lock import lock, unlock
from uniformer_mm.checkpoints.latest import latest_checkpoint
from uniformer_mm.engine.hooks.finite_loss import FiniteLossHook
from uniformer_mm.engine.hooks.safe_checkpoint import SafeCheckpointHook
from uniformer_mm.engine.hooks.stop_signal import StopSignalHook
from uniformer_mm.engine.loops import ResumableEpochBasedTrainLoop, ResumableIterBasedTrainLoop
from uniformer_mm.errors import CheckpointError, UserError, add_hint
from uniformer_mm.tasks import task_of
from uniformer_mm.tasks.task import step_name

RESUMABLE_LOOPS = {
    "EpochBasedTrainLoop": ResumableEpochBasedTrainLoop,
    "IterBasedTrainLoop": ResumableIterBasedTrainLoop,
}
"""Replacements of mmengine's training loops, by type."""


def build_trainer(cfg: Config, new_heads: bool = False) -> Runner:
    """Build the Runner of a training that can be resumed, and that stops at a loss of NaN.

    Args:
        cfg: The config; it stays as it is.
        new_heads: Whether to re-initialize heads whose number of classes differs.

    Raises:
        UserError: Something in the config is wrong, or the working directory cannot be written or
            is in use.
    """
    _check_writable(Path(cfg.work_dir))
    if is_first_process(cfg.get("launcher", "none")):
        lock(Path(cfg.work_dir))
    with building():  # a training loop without a type
        cfg = make_resumable(cfg)
    _check_optimizer(cfg)
    runner = build_runner(cfg, bool(cfg.get("resume")), new_heads)
    runner.register_hook(FiniteLossHook())
    return runner


def make_resumable(cfg: Config) -> Config:
    """A copy of a config with the training loop and checkpoint hook that resume exactly.

    They replace mmengine's; other types stay as they are.
    """
    cfg = copy.deepcopy(cfg)
    loop = cfg.train_cfg
    if "by_epoch" in loop:
        loop.type = "EpochBasedTrainLoop" if loop.pop("by_epoch") else "IterBasedTrainLoop"
    resumable = RESUMABLE_LOOPS.get(loop.type.removeprefix("mmengine."))
    if resumable:
        loop.type = f"mmengine.{resumable.__name__}"
    cfg.default_hooks = cfg.get("default_hooks") or {}
    hook = cfg.default_hooks.setdefault("checkpoint", {"interval": 1})
    if hook and hook.setdefault("type", "CheckpointHook") == "CheckpointHook":
        hook["type"] = f"mmengine.{SafeCheckpointHook.__name__}"
    # For other tools that read the config which mmengine leaves in the working directory.
    custom = cfg.get("custom_imports") or {}
    imports = custom.get("imports") or []
    imports = [imports] if isinstance(imports, str) else list(imports)
    ours = ["uniformer_mm", "uniformer_mm.engine.loops", SafeCheckpointHook.__module__]
    imports += [module for module in ours if module not in imports]
    cfg.custom_imports = {**custom, "imports": imports}
    return cfg


def train(runner: Runner) -> None:
    """Train; if that ends early, say how to resume.

    Raises:
        CheckpointError: The checkpoint to resume from does not fit.
        KeyboardInterrupt: With advice on how to resume.
        UserError: A user's mistake.
        SystemExit: After SIGTERM or SIGUSR1; the state is saved.
    """
    hook = StopSignalHook()
    runner.register_hook(hook)
    try:
        with hook.listening():
            runner.train()
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(_how_to_resume(runner)) from error
    except Exception as error:
        frames = [frame.f_code for frame, _ in walk_tb(error.__traceback__)]
        if not isinstance(error, UserError) and Runner.resume.__code__ in frames:
            raise CheckpointError(
                f"cannot resume from {runner._load_from}: {reason(error)} To start from its"
                " weights, give it as load_from without resume (--load-from)"
            ) from error
        if not Path(runner.log_dir).is_dir():
            raise UserError(
                f"the working directory {runner.work_dir} was deleted or moved during training."
                f" {_how_to_resume(runner)}"
            ) from error
        message = diagnose(error)
        if not message:
            add_hint(error, _how_to_resume(runner))
        if not message or isinstance(error, CheckpointError):
            raise
        raise UserError(f"{message.rstrip('.')}. {_how_to_resume(runner)}") from error
    finally:
        unlock(Path(runner.work_dir))


def draw_samples(runner: Runner, folder: Path) -> None:
    """Draw the predictions of a trained model for a few samples of its test data.

    Its config stays as it is, in memory and in the working directory. Without a visualization hook
    nothing is drawn.

    Args:
        runner: After training.
        folder: Where the images go.
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


def _how_to_resume(runner: Runner) -> str:
    path = latest_checkpoint(Path(runner.work_dir))
    return f"--resume continues from {path}." if path else "No checkpoint has been saved yet."


def _check_optimizer(cfg: Config) -> None:
    """Check that the optimizer is registered, which mmengine's error does not say."""
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
