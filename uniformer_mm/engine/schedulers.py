"""The learning-rate schedule of the authors' image and video classifiers."""

import math
from typing import Any

from mmengine.optim import _ParamScheduler
from mmengine.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(_ParamScheduler):
    """A linear warm-up and a cosine, each at the rate that its own formula gives.

    At step t of T, with W steps of warm-up and the optimizer's rate `lr`:

        t < W:  warmup_lr + (lr - warmup_lr) * t / W
        t < T:  eta_min + (lr - eta_min) * (1 + cos(pi * t / T)) / 2
        else:   eta_min

    That is timm's CosineLRScheduler without `warmup_prefix`: the cosine does not begin after the
    warm-up, it has gone on behind it. With `after_warmup` it does begin there, that is with
    (t - W) / (T - W) in place of t / T: PySlowFast's COSINE_AFTER_WARMUP.

    mmengine's LinearLR and CosineAnnealingLR cannot be combined to these curves, since each of them
    goes on from the rate that the other one left, and a warm-up ends one step early.

    Args:
        optimizer: The optimizer, or its wrapper.
        T_max: Steps T of the cosine.
        warmup: Steps W of the warm-up.
        warmup_lr: Rate at step 0.
        eta_min: Rate from step T on.
        delay: Steps for which the curve waits at step 0 before it starts.
        after_warmup: Whether the cosine begins after the warm-up.
        **kwargs: `by_epoch` and what else every scheduler of mmengine takes.
    """

    def __init__(
        self,
        optimizer: Any,
        T_max: int,  # noqa: N803 (the name in mmengine and PyTorch)
        warmup: int,
        warmup_lr: float,
        eta_min: float,
        delay: int = 0,
        after_warmup: bool = False,
        **kwargs: Any,
    ) -> None:
        self.T_max = T_max
        self.warmup = warmup
        self.warmup_lr = warmup_lr
        self.eta_min = eta_min
        self.delay = delay
        self.begin_of_cosine = warmup if after_warmup else 0
        super().__init__(optimizer, "lr", **kwargs)

    @classmethod
    def build_iter_from_epoch(
        cls, optimizer: Any, epoch_length: int, **epochs: Any
    ) -> "WarmupCosineLR":
        """A schedule whose steps are iterations, from arguments that count epochs."""
        for name in ("T_max", "warmup", "delay", "begin", "end"):
            if name in epochs:
                epochs[name] = int(epochs[name] * epoch_length)
        epochs["by_epoch"] = False
        return cls(optimizer, **epochs)

    def _get_value(self) -> list[float]:
        step = max(self.last_step - self.delay, 0)
        return [self._rate(base, step) for base in self.base_values]

    def _rate(self, base: float, step: int) -> float:
        if step < self.warmup:
            return self.warmup_lr + (base - self.warmup_lr) * step / self.warmup
        if step < self.T_max:
            share = (step - self.begin_of_cosine) / (self.T_max - self.begin_of_cosine)
            return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * share)) / 2
        return self.eta_min
