"""Save a checkpoint and stop when the process gets a signal."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from mmengine.dist import all_reduce, barrier, is_distributed
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from uniformer_mm.engine.hooks.safe_checkpoint import SafeCheckpointHook

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""Signals of clusters before they kill a job; `kill`, `docker stop` and torchrun send SIGTERM."""

INTERVAL = 10
"""Iterations between two checks of all processes whether to stop."""


class StopSignalHook(Hook):
    """On SIGTERM or SIGUSR1, saves a checkpoint after the iteration and ends the process.

    The exit status is 128 plus the signal's number (143, 138): a script can tell that training is
    not complete. Validation stops at once if the state is saved, otherwise at its end.

    Raises:
        SystemExit: After the checkpoint.
    """

    priority = "LOWEST"  # the state after an iteration is complete, and maybe saved

    def __init__(self) -> None:
        self.received = 0
        self.process = os.getpid()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals; enter before workers start, which inherit the handlers."""
        previous = {number: signal.signal(number, self._receive) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop, unless gradients are being accumulated, which no checkpoint holds."""
        wrapper = runner.optim_wrapper
        if not isinstance(wrapper, OptimWrapper) or wrapper.should_update():
            self._stop_if_asked(runner, runner.iter + 1)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop, if there is nothing to save."""
        hook = checkpoint_hook(runner)
        if not is_distributed() and hook and hook.saved_iteration == runner.iter:
            self._stop_if_asked(runner, runner.iter)

    def after_val(self, runner: Runner) -> None:
        """Stop, when weights are no longer replaced by their moving average."""
        self._stop_if_asked(runner, runner.iter)

    def _stop_if_asked(self, runner: Runner, iterations: int) -> None:
        number = self.received
        if is_distributed():  # at the same iteration in all processes
            if iterations % INTERVAL:
                return
            largest = torch.tensor(number)
            all_reduce(largest, "max")
            number = int(largest)
        if not number:
            return
        hook = checkpoint_hook(runner)
        saved = hook and hook.save_now(runner, iterations)
        runner.logger.info(
            f"stopped by {signal.Signals(number).name} after iteration {iterations};"
            + (f" --resume goes on from {saved}" if saved else " without a checkpoint hook")
        )
        barrier()  # torchrun kills the others when the first one ends
        raise SystemExit(128 + number)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() == self.process:
            self.received = number
        else:
            # A worker of a data loader: where all processes got the signal, it is needed until the
            # iteration is over. The second signal is from its parent.
            signal.signal(number, signal.SIG_DFL)


def checkpoint_hook(runner: Runner) -> SafeCheckpointHook | None:
    """Return the hook that saves checkpoints."""
    return next((hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook)), None)
