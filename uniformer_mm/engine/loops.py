"""Training loops that are exactly resumable.

mmengine's checkpoints hold no state of the random number generators, and a checkpoint from within
an epoch restarts that epoch; iteration-based runs load and discard all previous batches.

These loops need no further state, because nothing random has a history: generators are seeded for
every batch that is read, and for every iteration of the model, from the seed of the run, the rank
of the process and the number of the iteration. A run does not depend on the number of worker
processes, and resuming skips indices instead of reading files.

Importing this module registers the loops in mmengine's root registry:
`train_cfg = dict(type="mmengine.ResumableEpochBasedTrainLoop", max_epochs=12)`.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import chain, count, repeat
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dist import broadcast_object_list, get_rank
from mmengine.registry import DATA_SAMPLERS, LOOPS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import BatchSampler, DataLoader

from uniformer_mm.datasets.error_context import read_sample
from uniformer_mm.errors import UserError

DATA, MODEL = 0, 1
"""Independent streams of random numbers."""


class ResumableLoop:
    """What both loops below add to mmengine's."""

    runner: Runner
    dataloader: DataLoader
    iter: int

    def run(self) -> Any:
        """Train, from the iteration of the checkpoint if there is one."""
        seed = [self.runner.seed]
        broadcast_object_list(seed)  # processes may have seeds of their own
        (self.seed,) = seed
        dataset: Any = self.dataloader.dataset
        dataset.__getitems__ = SeededDataset(dataset, self.seed)
        self.batches.sampler.seed = self.seed
        return super().run()  # type: ignore[misc]

    def run_iter(self, *batch: Any) -> None:
        """Train on a batch, after seeding."""
        seed_generators(self.seed, MODEL, get_rank(), self.iter)
        super().run_iter(*batch)  # type: ignore[misc]

    @property
    def batches(self) -> "NumberedBatches":
        """Batch sampler of the data loader."""
        return self.dataloader.batch_sampler  # type: ignore[return-value]


@LOOPS.register_module()
class ResumableEpochBasedTrainLoop(ResumableLoop, EpochBasedTrainLoop):
    """mmengine's EpochBasedTrainLoop, exactly resumable, also within an epoch.

    Args:
        runner: The runner.
        dataloader: Config of the data loader.
        **settings: Those of mmengine's loop.
    """

    def __init__(self, runner: Runner, dataloader: dict[str, Any], **settings: Any) -> None:
        super().__init__(runner, build_dataloader(runner, dataloader), **settings)

    def run_epoch(self) -> None:
        """Train for the rest of the epoch."""
        length = len(self.dataloader)
        done = self._iter - self._epoch * length
        if not 0 <= done <= length:
            self.runner.logger.warning(
                f"an epoch has {length} batches, which differs from the checkpoint's run: epoch"
                f" {self._epoch + 1} restarts"
            )
            done = 0
        self.batches.begin(at=self._iter - done, skip=done)
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        for index, batch in enumerate(self.dataloader, start=done):
            self.run_iter(index, batch)
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1


@LOOPS.register_module()
class ResumableIterBasedTrainLoop(ResumableLoop, IterBasedTrainLoop):
    """mmengine's IterBasedTrainLoop, exactly resumable without reading previous batches.

    Finite samplers continue with the order of the next epoch; workers are not restarted.

    Args:
        runner: The runner.
        dataloader: Config of the data loader.
        **settings: Those of mmengine's loop.
    """

    def __init__(self, runner: Runner, dataloader: dict[str, Any], **settings: Any) -> None:
        loader = build_dataloader(runner, dataloader)
        # mmengine starts the workers here, before it knows the first batch: give it a loader
        # without workers that is never read.
        super().__init__(runner, DataLoader(loader.dataset), **settings)
        self.dataloader = loader

    def run(self) -> Any:
        """Train, from the iteration of the checkpoint if there is one."""
        self.batches.begin(at=0, skip=self._iter, endless=True)
        # mmengine asks for the previous batches once more, and discards them.
        self.dataloader_iterator = chain(repeat(None, self._iter), self.dataloader)
        return super().run()


class NumberedBatch(NamedTuple):
    """Indices of the samples of a batch, and the number of its iteration, from 0."""

    number: int
    indices: Sequence[int]


class NumberedBatches:
    """Batches of a batch sampler, with numbers, from any of them on.

    Args:
        sampler: Chooses samples; mmengine builds it.
        batch_size: Samples per process.
        batch_sampler: Config of the batch sampler; torch's if None.
        drop_last: Of torch's batch sampler.

    Raises:
        UserError: There is no batch.
    """

    def __init__(
        self,
        sampler: Any,
        batch_size: int,
        batch_sampler: dict[str, Any] | None = None,
        drop_last: bool = False,
    ) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.batches: Any = BatchSampler(sampler, batch_size, drop_last)
        if batch_sampler:
            arguments = {"sampler": sampler, "batch_size": batch_size}
            self.batches = DATA_SAMPLERS.build(batch_sampler, default_args=arguments)
        if len(sampler) == 0:
            file = getattr(getattr(sampler, "dataset", None), "ann_file", "")
            raise UserError(
                f"no training sample is left{file and ' in ' + str(file)}: no image that is large"
                " enough has a valid annotation"
            )
        if len(self) == 0:
            raise UserError(
                f"the training set has {len(sampler)} samples per process, less than one batch of"
                f" {batch_size}: reduce train_dataloader.batch_size, or set its drop_last to False"
            )
        self.begin(at=0)

    def begin(self, at: int, skip: int = 0, endless: bool = False) -> None:
        """Set what the next pass yields.

        Args:
            at: Number of the first batch of the sampler.
            skip: How many of its batches to leave out.
            endless: Whether to continue with the sampler's next epoch when it ends.
        """
        self.at, self.first, self.endless = at, at + skip, endless

    def __len__(self) -> int:
        """Number of batches of an epoch."""
        return len(self.batches)

    def __iter__(self) -> Iterator[NumberedBatch]:
        """Yield batches, from the first that is wanted."""
        number = self.at
        for epoch in count(1):
            for indices in self.batches:
                if number >= self.first:
                    yield NumberedBatch(number, indices)
                number += 1
            if not self.endless:
                return
            self.sampler.set_epoch(epoch)


class SeededDataset:
    """Reads each batch of a dataset with its own random numbers, in any process.

    Data loaders use it if it becomes the attribute `__getitems__` of the dataset.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed
        self.rank = get_rank()

    def __call__(self, batch: NumberedBatch) -> list[Any]:
        """Return the samples of a batch."""
        seed_generators(self.seed, DATA, self.rank, batch.number)
        return [read_sample(self.dataset, index) for index in batch.indices]


def build_dataloader(runner: Runner, dataloader: dict[str, Any]) -> DataLoader:
    """Build the data loader of a config, with numbered batches."""
    config = dict(dataloader)
    batches = {"type": NumberedBatches, "batch_sampler": config.pop("batch_sampler", None)}
    if "drop_last" in config:
        batches["drop_last"] = config.pop("drop_last")
    return runner.build_dataloader({**config, "batch_sampler": batches}, seed=runner.seed)


def seed_generators(*key: int) -> None:
    """Seed the generators of Python, numpy and torch with a hash of integers."""
    words = np.random.SeedSequence(key).generate_state(4)
    np.random.seed(words)
    random.seed(words.tobytes())
    torch.manual_seed(int.from_bytes(words[:2].tobytes(), "little"))
