"""Shrink configs to short runs on synthetic data."""

from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

MIN_ITERATIONS = 10


@dataclass(frozen=True)
class ShortRun:
    """Length of a run that learns a synthetic dataset from random weights.

    Attributes:
        samples: Default number of training samples.
        iterations: With that number.
        learning_rate: After the warm-up.
        batch_size: Samples per iteration, if there are as many; by default that of the config.
    """

    samples: int
    iterations: int
    learning_rate: float
    batch_size: int | None = None


def shrink_schedule(
    cfg: Config, run: ShortRun, count: int, *, warmup: int = 30, max_norm: float = 5.0
) -> None:
    """Train for a short run with AdamW: a linear warm-up, then a cosine, evaluated at its end.

    The optimizer's weight decay stays as in the config. The number of epochs does not depend on
    the number of samples.

    Args:
        cfg: Changed in place.
        run: Length of the run with the default number of samples.
        count: Number of training samples.
        warmup: Iterations of the warm-up, at most a third of all.
        max_norm: Of the gradients.
    """
    usual_batch = run.batch_size or cfg.train_dataloader.batch_size
    batch = min(usual_batch, max(count, 2))  # BatchNorm of pooled features needs two samples
    cfg.train_dataloader.update(batch_size=batch, drop_last=False)
    iterations = round(run.iterations * usual_batch / batch * count / run.samples)
    iterations = max(iterations, MIN_ITERATIONS)
    warmup = min(warmup, iterations // 3)
    cfg.train_cfg = {
        "type": "IterBasedTrainLoop",
        "max_iters": iterations,
        "val_interval": iterations,
    }
    # Few iterations: a shorter memory of squared gradients, and clipping, make more of each.
    cfg.optim_wrapper.optimizer.update(lr=run.learning_rate, betas=(0.9, 0.98), fused=True)
    cfg.optim_wrapper.clip_grad = {"max_norm": max_norm}
    cfg.param_scheduler = [
        {"type": "LinearLR", "start_factor": 0.01, "by_epoch": False, "begin": 0, "end": warmup},
        {
            "type": "CosineAnnealingLR",
            "by_epoch": False,
            "begin": warmup,
            "end": iterations,
            "T_max": iterations - warmup,
            "eta_min_ratio": 0.01,
        },
    ]
    hooks = cfg.get("default_hooks") or {}
    if hooks.get("checkpoint"):  # None switches a hook off
        hooks["checkpoint"].update(by_epoch=False, interval=iterations, save_best=None)
    if hooks.get("logger"):
        hooks["logger"]["interval"] = min(10, iterations)
    cfg.setdefault("log_processor", {}).update(by_epoch=False, window_size=10)
    cfg.train_dataloader.sampler = {"type": "InfiniteSampler", "shuffle": True}
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        cfg[name].update(num_workers=0, persistent_workers=False, pin_memory=False)
    cfg.randomness = {"seed": 0}


def from_random_weights(cfg: Config) -> None:
    """Train the backbone from random weights, without what only long runs or pretrained ones need.

    Downloads, stochastic depth, activation checkpointing, and learning rates below those of the
    head are switched off.
    """
    off = {"init_cfg": None, "pretrained": None, "drop_path_rate": 0.0, "with_cp": False}
    cfg.model.backbone.update({name: off[name] for name in off if name in cfg.model.backbone})
    paramwise = cfg.optim_wrapper.get("paramwise_cfg") or {}
    if "layer_decay_rate" in paramwise:
        paramwise["layer_decay_rate"] = 1.0
    for settings in (paramwise.get("custom_keys") or {}).values():
        settings.pop("lr_mult", None)


def scale_sizes(pipeline: Any, factor: float) -> None:
    """Scale every image size in a pipeline, to integers."""
    if isinstance(pipeline, dict):
        for key, value in pipeline.items():
            if key in ("scale", "scales", "crop_size", "size", "img_scale", "scale_range"):
                pipeline[key] = _scaled(value, factor)
            else:
                scale_sizes(value, factor)
    elif isinstance(pipeline, list | tuple):
        for value in pipeline:
            scale_sizes(value, factor)


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_scaled(entry, factor) for entry in value)
    if value == -1:  # of mmaction2: keep the aspect ratio
        return value
    return max(round(value * factor), 1)
