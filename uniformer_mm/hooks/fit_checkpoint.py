"""Fit the checkpoint of a whole model to the config's model, or say why it does not fit."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from uniformer_mm.checkpoints.loading import LoadReport, check_head_dim, likely_cause, match
from uniformer_mm.checkpoints.naming import BACKBONE, to_model_names
from uniformer_mm.checkpoints.reading import find_state_dict
from uniformer_mm.checkpoints.sources import CheckpointError


@HOOKS.register_module()
class FitCheckpointHook(Hook):
    """Lets `load_from` and `resume` take any UniFormer checkpoint, and take it whole.

    Official files (ImageNet, token labelling, MM 1.x detectors, segmenters and pose estimators,
    SlowFast videos) get this model's names; image weights of a video model are inflated. mmengine
    by itself loads what fits and logs the rest, so that a checkpoint of another model or of other
    classes is evaluated with random heads. Here:

    - testing and resuming need every tensor of the model, in the right shape;
    - training on from `load_from` needs every tensor of the backbone, and the heads if the file
      has any: `new_heads` lets those that do not fit start anew.

    The report of the whole is logged.

    Args:
        exact: Whether nothing may be missing (testing, resuming).
        new_heads: Whether heads of other classes start anew.

    Raises:
        CheckpointError: At loading time, if the checkpoint does not fit.
    """

    priority = "VERY_HIGH"  # before the hook that copies the weights into a moving average

    def __init__(self, exact: bool = False, new_heads: bool = False) -> None:
        self.exact = exact
        self.new_heads = new_heads

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Replace the state dict by one of the model's names and shapes."""
        model = runner.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        source = str(runner._load_from or "the checkpoint")
        check_head_dim(source, getattr(getattr(model, "backbone", None), "head_dim", None))
        target = model.state_dict()
        state = to_model_names(find_state_dict(checkpoint), target)
        has_heads = any(name in state for name in target if not name.startswith(BACKBONE))
        fitting, report = match(
            state,
            target,
            source,
            heads_may_differ=not self.exact and (self.new_heads or not has_heads),
        )
        if report.missing or report.misshapen:
            raise CheckpointError(f"{report}\n{self._remedy(report)}")
        if not (report.matched or report.inflated):
            raise CheckpointError(f"{report}\n{likely_cause(report)}")
        checkpoint["state_dict"] = fitting
        print_log(str(report), logger="current")

    def _remedy(self, report: LoadReport) -> str:
        if not (report.matched or report.inflated):
            return "Nothing in it is of this model: is it the checkpoint of another config?"
        if report.missing or any(name.startswith(BACKBONE) for name in report.misshapen):
            return f"Use the config that it was trained with. {likely_cause(report)}"
        text = (
            "Most likely it was trained with another number of classes: set num_classes of the"
            " heads and the dataset's classes to those of the checkpoint."
        )
        if self.exact:
            return text + " To fine-tune it on other classes, train with --load-from CHECKPOINT."
        return text + " To train its heads anew, add --new-heads."
