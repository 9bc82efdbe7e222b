"""Where the time of a training iteration goes, from the dataset to the optimizer."""

import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from uniformer_mm.apis.launch import build_runner

WARMUP = 3

PARTS = ("data", "forward", "backward", "optimizer")


def time_parts(cfg: Config, iterations: int) -> dict[str, float]:
    """Median seconds of the parts of a config's training iteration.

    Args:
        cfg: A whole config, with its data in place.
        iterations: Timed iterations, after a few that are not.

    Returns:
        'data': waiting for the next batch; 'forward': preprocessing, model and losses;
        'backward'; 'optimizer': clipping, the step, and clearing gradients.
    """
    runner = build_runner(cfg, exact_checkpoint=False)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner._init_model_weights()
    runner.model.train()
    batches = _endless(runner.train_dataloader)
    seconds: dict[str, list[float]] = {name: [] for name in PARTS}
    for index in range(WARMUP + iterations):
        for name, value in _one(runner, batches).items():
            if index >= WARMUP:
                seconds[name].append(value)
    return {name: statistics.median(values) for name, values in seconds.items()}


def device_of(cfg: Config) -> torch.device:
    """Where the Runner puts the model."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _one(runner: Runner, batches: Iterator[Any]) -> dict[str, float]:
    clock = [_now()]
    batch = next(batches)
    clock.append(_now())
    model, wrapper = runner.model, runner.optim_wrapper
    with wrapper.optim_context(model):
        data = model.data_preprocessor(batch, True)
        losses = model._run_forward(data, mode="loss")
    loss, _ = model.parse_losses(losses)
    clock.append(_now())
    wrapper.backward(loss)
    clock.append(_now())
    wrapper.step()
    wrapper.zero_grad()
    clock.append(_now())
    ends = zip(clock[1:], clock[:-1], strict=True)
    return {name: end - start for name, (end, start) in zip(PARTS, ends, strict=True)}


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader
