"""Stop at a loss that is not finite, before anything of it is saved."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from uniformer_mm.datasets.error_context import PATH_KEYS
from uniformer_mm.errors import UserError


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Ends training when the loss is infinite or not a number.

    Such a loss makes all weights so, and the run goes on for days; scaled gradients of mixed
    precision are skipped when they overflow, but that repairs the scale, not the loss.

    It costs nothing: mmengine has just copied the losses from the device for its logs, and the
    hook looks at those copies. Weights are looked at when they are saved, since the loss of a
    process is its own while gradients, and so the weights, are those of all.

    Raises:
        UserError: With iteration, files and checkpoint.
    """

    priority = "HIGH"  # after the copies, before moving averages and checkpoints

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Look at the losses."""
        names = [name for name in outputs or () if "loss" in name]
        values = {name: runner.message_hub.get_scalar(f"train/{name}").current() for name in names}
        wrong = [f"{name} {value}" for name, value in values.items() if not math.isfinite(value)]
        if wrong:
            files = ", ".join(files_of(data_batch)) or "files that the data samples do not name"
            raise UserError(
                f"the loss is not finite in iteration {runner.iter + 1} ({', '.join(wrong)}), on"
                f" {files}. Look at these files and their labels; if they are fine, lower the"
                " learning rate, clip gradients (optim_wrapper.clip_grad), or train in single"
                " precision."
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Look at the weights."""
        for name, weights in runner.model.named_parameters():
            if not torch.isfinite(weights).all():
                raise UserError(
                    f"{name} is not finite in iteration {checkpoint['meta']['iter']}, and is not"
                    " saved: in another process the loss was not finite, or gradients overflowed."
                    " Lower the learning rate, or clip gradients (optim_wrapper.clip_grad)."
                )


def files_of(data_batch: Any) -> Iterable[str]:
    """The files of a batch, as far as its data samples name them."""
    samples = data_batch.get("data_samples", ()) if isinstance(data_batch, dict) else ()
    for sample in samples:
        yield from (str(Path(sample.get(key))) for key in PATH_KEYS if sample.get(key))
