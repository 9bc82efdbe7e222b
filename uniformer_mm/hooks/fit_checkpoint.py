"""Fit the checkpoint of a whole model to the config's model, or say why it does not fit."""

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, CheckpointLoader, Runner

from uniformer_mm.checkpoints.head_dims import check_head_dim, describe_backbone
from uniformer_mm.checkpoints.loading import match
from uniformer_mm.checkpoints.naming import BACKBONE, to_model_names
from uniformer_mm.checkpoints.reading import find_state_dict, read_checkpoint
from uniformer_mm.checkpoints.sources import CheckpointError


class FitCheckpointHook(Hook):
    """Lets `load_from` and `resume` take any UniFormer checkpoint, and take it whole.

    The tools of this package always have it. In a config of your own, with any codebase's tools:
    ``custom_hooks = [dict(type="mmengine.FitCheckpointHook")]``.

    Sources are those of `init_cfg`: paths, URLs, `hf://OWNER/REPOSITORY/FILE` and names of the zoo,
    `.pth` and `.safetensors`, read as data only. Official files (ImageNet, token labelling, MM 1.x
    detectors, segmenters and pose estimators, SlowFast videos) get this model's names; image
    weights of a video model are inflated. mmengine by itself loads what fits and logs the rest, so
    that a checkpoint of another model or of other classes is evaluated with random heads. Here:

    - testing and resuming need every tensor of the model, in the right shape;
    - training on from `load_from` needs every tensor of the backbone, and the heads if the file
      has any: `new_heads` lets those that do not fit start anew.

    The report of the whole is logged.

    Args:
        exact: Whether nothing may be missing; by default while testing and resuming.
        new_heads: Whether heads of other classes start anew.

    Raises:
        CheckpointError: At loading time, if the checkpoint does not fit.
    """

    priority = "VERY_HIGH"  # before the hook that copies the weights into a moving average

    def __init__(self, exact: bool | None = None, new_heads: bool = False) -> None:
        self.exact = exact
        self.new_heads = new_heads

    def before_run(self, runner: Runner) -> None:
        """Let mmengine read files and URLs as we do; the model is initialised after this."""
        CheckpointLoader.register_scheme(
            prefixes=["", "http://", "https://", "hf://"], loader=load_from_uniformer_mm, force=True
        )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Write what no tensor tells: the size of the backbone's attention heads."""
        checkpoint.setdefault("meta", {}).update(describe_backbone(_unwrapped(runner.model)))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Replace the state dict by one of the model's names and shapes, without gaps."""
        source = str(runner._load_from or f"the last checkpoint in {runner.work_dir}")
        state = find_state_dict(checkpoint, source)
        if runner._resume:
            check_resumable(checkpoint, source, bool(runner.param_schedulers))
        model = _unwrapped(runner.model)
        target = model.state_dict()
        if not any(name.startswith(BACKBONE) for name in target):
            # A student and its teacher, a tracker ...: names are for the model to understand.
            checkpoint["state_dict"] = dict(state)
            return
        exact = self.exact
        if exact is None:
            exact = runner._resume or not isinstance(runner._train_loop, BaseLoop)
        if not runner._resume:
            check_head_dim(checkpoint, source, getattr(model.backbone, "head_dim", None))
        fitting, report = match(
            to_model_names(state, target), target, source, exact=exact, new_heads=self.new_heads
        )
        target.update(fitting)  # what starts anew is in it too: mmengine has nothing to complain of
        checkpoint["state_dict"] = target
        print_log(str(report), logger="current")


def _unwrapped(model: Any) -> Any:
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def check_resumable(checkpoint: Mapping[str, Any], source: str, with_schedule: bool) -> None:
    """Complain of what mmengine would leave as it is at the start, without a word.

    Raises:
        CheckpointError: The checkpoint has not all that a training run of mmengine's saves.
    """
    needed = ["message_hub", "optimizer", *["param_schedulers"] * with_schedule]
    absent = [key for key in needed if key not in checkpoint]
    meta = checkpoint.get("meta") or {}
    absent += [f"meta.{key}" for key in ("epoch", "iter") if key not in meta]
    if absent:
        raise CheckpointError(
            f"training cannot go on from {source}: it has no {', '.join(absent)}. To start from its"
            " weights, give it as load_from without resume (--load-from)"
        )


def load_from_uniformer_mm(filename: str, map_location: Any = None) -> Any:
    """`read_checkpoint` as mmengine calls it; its log shows the name from the tenth letter on."""
    return read_checkpoint(filename, map_location)
