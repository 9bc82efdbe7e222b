"""Learning-rate schedule of the official image and video classifiers."""

import math
from typing import Any

from mmengine.optim import _ParamScheduler
from mmengine.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(_ParamScheduler):
    """Linear warm-up, then a cosine that counts steps from the start of the warm-up.

    At step t of T, with W steps of warm-up and the optimizer's rate `lr`:

        t < W:  warmup_lr + (lr - warmup_lr) * t / W
        t < T:  eta_min + (lr - eta_min) * (1 + cos(pi * t / T)) / 2
        else:   eta_min

    This is timm's CosineLRScheduler without `warmup_prefix`. With `after_warmup` the cosine begins
    after the warm-up, with (t - W) / (T - W) in place of t / T: PySlowFast's COSINE_AFTER_WARMUP.

    mmengine's LinearLR and CosineAnnealingLR cannot be combined to these curves: each continues
    from the rate of the other one, and a warm-up ends one step early.

    Args:
        optimizer: The optimizer, or its wrapper.
        T_max: Steps T of the cosine.
        warmup: Steps W of the warm-up.
        warmup_lr: Rate at step 0.
        eta_min: Rate from step T on.
        delay: Steps to stay at step 0 before the schedule starts.
        after_warmup: Whether the cosine begins after the warm-up.
        **kwargs: `by_epoch` and other arguments of mmengine's schedulers.
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
        """Build a schedule in iterations from arguments in epochs."""
        for name in ("T_max", "warmup", "delay", "begin", "end"):
            if name in epochs:
                epochs[name] = int(epochs[name] * epoch_length)
        epochs["by_epoch"] = False
        return cls(optimizer, **epochs)

    def _get_value(self) -> list[float]:
        return [self._rate(base) for base in self.base_values]

    def _rate(self, base: float) -> float:
        step = max(self.last_step - self.delay, 0)
        if step < self.warmup:
            return self.warmup_lr + (base - self.warmup_lr) * step / self.warmup
        if step < self.T_max:
            share = (step - self.begin_of_cosine) / (self.T_max - self.begin_of_cosine)
            return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * share)) / 2
        return self.eta_min
