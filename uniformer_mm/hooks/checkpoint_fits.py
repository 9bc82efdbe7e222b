"""Say what in a checkpoint does not fit the model, before it is loaded."""

import re
from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from uniformer_mm.checkpoints.loading import CheckpointError, find_state_dict

NUM_SHOWN = 4


class CheckpointFitsHook(Hook):
    """Checks `load_from` and `resume` checkpoints of a whole model against the config.

    mmengine loads what fits and logs the rest, so that a checkpoint of another model or of other
    classes is evaluated with random heads. Here:

    - testing and resuming need every tensor of the model, in the right shape;
    - fine-tuning (`load_from` in training) needs every tensor of the backbone; heads and necks that
      do not fit start anew, and are named in the log.

    Args:
        exact: Whether nothing may be missing (testing, resuming).

    Raises:
        CheckpointError: At loading time, if the checkpoint does not fit.
    """

    priority = "VERY_LOW"  # after the hooks that exchange weights in the checkpoint (EMA)

    def __init__(self, exact: bool) -> None:
        self.exact = exact

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare names and shapes."""
        model = runner.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        source = str(runner._load_from or "the checkpoint")
        found = {
            re.sub(r"^module\.", "", name): tensor
            for name, tensor in find_state_dict(checkpoint).items()
        }
        misfits = find_misfits(model.state_dict(), found)
        if not misfits:
            return
        shown = "\n".join(f"  {text}" for text in list(misfits.values())[:NUM_SHOWN])
        more = f"\n  and {len(misfits) - NUM_SHOWN} more" if len(misfits) > NUM_SHOWN else ""
        message = f"{source} does not fit the config's model:\n{shown}{more}\n"
        expected = len(model.state_dict())
        if self.exact or len(misfits) == expected:
            raise CheckpointError(message + _remedy(misfits, expected))
        if any(name.startswith("backbone.") for name in misfits):
            raise CheckpointError(
                message + "The backbone has to fit: check its arch, dims, stem and layer_scale."
            )
        print_log(f"{message}These tensors start anew.", logger="current")


def find_misfits(model: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, str]:
    """What a checkpoint lacks or has in another shape: by name of the model's tensor, in words."""
    misfits = {}
    for name, tensor in model.items():
        if name not in found:
            if not name.endswith("num_batches_tracked"):
                misfits[name] = f"{name} is missing"
        elif found[name].shape != tensor.shape:
            misfits[name] = (
                f"{name} has shape {tuple(found[name].shape)} there,"
                f" {tuple(tensor.shape)} in the model"
            )
    return misfits


def _remedy(misfits: Mapping[str, str], expected: int) -> str:
    if len(misfits) == expected:
        return "Nothing in it is of this model: is it the checkpoint of another config?"
    if all("has shape" in text and "backbone." not in name for name, text in misfits.items()):
        return (
            "Most likely it was trained with another number of classes: set num_classes of the"
            " heads and the dataset's classes to those of the checkpoint. To fine-tune it on"
            " other classes, train with --cfg-options load_from=CHECKPOINT."
        )
    return "Use the config that it was trained with."
