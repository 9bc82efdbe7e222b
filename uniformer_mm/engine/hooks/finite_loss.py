"""Stop training at a loss that is not finite, before a checkpoint is saved."""

import math
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from uniformer_mm.datasets.error_context import PATH_KEYS
from uniformer_mm.errors import UserError


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops training when the loss is infinite or NaN.

    Mixed precision skips steps whose scaled gradients overflow; it does not repair such a loss.

    The check costs nothing: mmengine has just copied the losses from the device for its logs.
    Weights are checked when they are saved, since the loss is that of one process, while gradients,
    and so weights, are those of all.

    Raises:
        UserError: It names iteration and files.
    """

    priority = "HIGH"  # after the copies, before moving averages and checkpoints

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Check the losses."""
        names = [name for name in outputs or () if "loss" in name]
        values = {name: runner.message_hub.get_scalar(f"train/{name}").current() for name in names}
        wrong = [f"{name} {value}" for name, value in values.items() if not math.isfinite(value)]
        if wrong:
            files = ", ".join(files_of(data_batch)) or "files that the data samples do not name"
            raise UserError(
                f"the loss is not finite in iteration {runner.iter + 1} ({', '.join(wrong)}), on"
                f" {files}. Check these files and their labels; if they are correct, lower the"
                " learning rate, clip gradients (optim_wrapper.clip_grad), or train in single"
                " precision."
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Check the weights."""
        for name, weights in runner.model.named_parameters():
            if not torch.isfinite(weights).all():
                raise UserError(
                    f"{name} is not finite in iteration {checkpoint['meta']['iter']}, and is not"
                    " saved: the loss of another process was not finite, or gradients overflowed."
                    " Lower the learning rate, or clip gradients (optim_wrapper.clip_grad)."
                )


def files_of(data_batch: Any) -> list[str]:
    """Return the files that the data samples of a batch name."""
    samples = data_batch.get("data_samples", ()) if isinstance(data_batch, dict) else ()
    return [str(sample.get(key)) for sample in samples for key in PATH_KEYS if sample.get(key)]
