"""Time of the parts of a training iteration, from the dataset to the optimizer."""

import itertools
import statistics
from typing import Any

from mmengine.config import Config

from uniformer_mm.analysis.timing import now
from uniformer_mm.apis.launch import build_runner

WARMUP = 3

PARTS = ("data", "forward", "backward", "optimizer")


def time_parts(cfg: Config, iterations: int) -> dict[str, float]:
    """Median seconds of the parts of a config's training iteration.

    Args:
        cfg: A complete config whose data are in place.
        iterations: Timed iterations, after a few that are not.

    Returns:
        'data': waiting for the next batch; 'forward': preprocessing, model and losses;
        'backward'; 'optimizer': clipping, the step, and clearing gradients.
    """
    runner: Any = build_runner(cfg, exact_checkpoint=False)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner._init_model_weights()
    model = runner.model.train()
    # Not `itertools.cycle`, which would repeat the first epoch's augmented samples.
    batches = itertools.chain.from_iterable(itertools.repeat(runner.train_dataloader))
    rounds = []
    for _ in range(WARMUP + iterations):
        times = [now()]
        batch = next(batches)
        times.append(now())
        with wrapper.optim_context(model):
            losses = model._run_forward(model.data_preprocessor(batch, True), mode="loss")
        loss, _ = model.parse_losses(losses)
        times.append(now())
        wrapper.backward(loss)
        times.append(now())
        wrapper.step()
        wrapper.zero_grad()
        times.append(now())
        rounds.append([end - start for start, end in itertools.pairwise(times)])
    medians = map(statistics.median, zip(*rounds[WARMUP:], strict=True))
    return dict(zip(PARTS, medians, strict=True))
