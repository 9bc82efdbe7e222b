"""Training loops that go on from a checkpoint exactly as if training had never stopped.

mmengine's checkpoints hold weights, optimizer, schedules and moving averages, but no state of the
random number generators, and a checkpoint from within an epoch begins that epoch anew. To reach
their position again, its iteration-based runs load and throw away all batches of the past.

Here nothing more has to be saved, because nothing random has a history: the generators are seeded
for every batch that is read, and for every iteration of the model, from the seed of the run, the
rank of the process and the number of the iteration. A run is the same with any number of worker
processes, and resuming skips indices instead of reading files.

Importing this module registers the loops in mmengine's root registry:
`train_cfg = dict(type="mmengine.ResumableEpochBasedTrainLoop", max_epochs=12)`.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
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
"""Independent streams of random numbers: what samples and what the model draw."""


class ResumableLoop:
    """What the two loops below add to mmengine's."""

    runner: Runner
    dataloader: DataLoader
    iter: int

    def run(self) -> Any:
        """Train, from wherever the checkpoint left off."""
        self.seed = common_seed(self.runner)
        dataset: Any = self.dataloader.dataset
        dataset.__getitems__ = SeededReads(dataset, self.seed)
        self.batches.sampler.seed = self.seed
        return super().run()  # type: ignore[misc]

    def run_iter(self, *batch: Any) -> None:
        """Train on a batch, with random numbers of its own."""
        seed_generators(self.seed, MODEL, get_rank(), self.iter)
        super().run_iter(*batch)  # type: ignore[misc]

    @property
    def batches(self) -> "NumberedBatches":
        """What the data loader reads."""
        return self.dataloader.batch_sampler  # type: ignore[return-value]


@LOOPS.register_module()
class ResumableEpochBasedTrainLoop(ResumableLoop, EpochBasedTrainLoop):
    """mmengine's EpochBasedTrainLoop, resumed exactly, within an epoch too.

    Args:
        runner: The runner.
        dataloader: Config of the data loader.
        **settings: Those of mmengine's loop.
    """

    def __init__(self, runner: Runner, dataloader: dict[str, Any], **settings: Any) -> None:
        super().__init__(runner, build_dataloader(runner, dataloader), **settings)

    def run_epoch(self) -> None:
        """Train on what is left of the epoch."""
        length = len(self.dataloader)
        done = self._iter - self._epoch * length
        if not 0 <= done <= length:
            self.runner.logger.warning(
                f"an epoch has {length} batches now, which is not what the checkpoint was trained"
                f" with: epoch {self._epoch + 1} begins anew"
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
    """mmengine's IterBasedTrainLoop, resumed exactly and without reading the batches of the past.

    Samplers that end start over with the next epoch's order, without a restart of the workers.

    Args:
        runner: The runner.
        dataloader: Config of the data loader.
        **settings: Those of mmengine's loop.
    """

    def __init__(self, runner: Runner, dataloader: dict[str, Any], **settings: Any) -> None:
        loader = build_dataloader(runner, dataloader)
        # mmengine starts the workers here, before it knows at which batch: it gets a loader that
        # has none and is never read.
        super().__init__(runner, DataLoader(loader.dataset), **settings)
        self.dataloader = loader

    def run(self) -> Any:
        """Train, from wherever the checkpoint left off."""
        self.batches.begin(at=0, skip=self._iter, endless=True)
        # mmengine asks for the batches of the past once more, and throws them away.
        self.dataloader_iterator = chain(repeat(None, self._iter), self.dataloader)
        return super().run()


class NumberedBatch(NamedTuple):
    """Indices of the samples of a batch.

    Attributes:
        number: The iteration that it is for, from 0.
        indices: Of its samples in the dataset.
    """

    number: int
    indices: Sequence[int]


class NumberedBatches:
    """The batches of a batch sampler, numbered, and beginning anywhere.

    Args:
        sampler: Chooses samples; mmengine builds it.
        batch_size: Of a process.
        batch_sampler: Config of the batch sampler; torch's if None.
        drop_last: For torch's: leave out the last batch of an epoch if it is not full.

    Raises:
        UserError: There is no batch at all.
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
        self.batches: Any = (
            DATA_SAMPLERS.build(
                batch_sampler, default_args={"sampler": sampler, "batch_size": batch_size}
            )
            if batch_sampler
            else BatchSampler(sampler, batch_size, drop_last)
        )
        if len(sampler) == 0:
            file = getattr(getattr(sampler, "dataset", None), "ann_file", "")
            raise UserError(
                f"nothing is left to train on{file and ' in ' + str(file)}: no image that is large"
                " enough has an annotation that can be used"
            )
        if len(self) == 0:
            raise UserError(
                f"the training set has {len(sampler)} samples per process, not one batch of"
                f" {batch_size}: reduce train_dataloader.batch_size, or set its drop_last to False"
            )
        self.begin(at=0)

    def begin(self, at: int, skip: int = 0, endless: bool = False) -> None:
        """Set what the next pass yields.

        Args:
            at: Number of the first batch of the sampler.
            skip: How many of its batches are left out.
            endless: Whether the sampler starts over with its next epoch when it ends.
        """
        self.first = at + skip
        self.number = at
        self.endless = endless

    def __len__(self) -> int:
        """Number of batches of an epoch."""
        return len(self.batches)

    def __iter__(self) -> Iterator[NumberedBatch]:
        """Batches from the first that is wanted."""
        number, epoch = self.number, 0
        while epoch == 0 or self.endless:
            for indices in self.batches:
                if number >= self.first:
                    yield NumberedBatch(number, indices)
                number += 1
            epoch += 1
            if self.endless:
                self.sampler.set_epoch(epoch)


class SeededReads:
    """Reads batches of a dataset, in the process or in a worker, each with its own random numbers.

    As the dataset's attribute `__getitems__` it is what torch's data loaders call.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed
        self.rank = get_rank()

    def __call__(self, batch: NumberedBatch) -> list[Any]:
        """The samples of a batch."""
        seed_generators(self.seed, DATA, self.rank, batch.number)
        return [read_sample(self.dataset, index) for index in batch.indices]


def build_dataloader(runner: Runner, dataloader: dict[str, Any]) -> DataLoader:
    """The data loader of a config, with numbered batches of the same samples."""
    config = dict(dataloader)
    batches = {"type": NumberedBatches, "batch_sampler": config.pop("batch_sampler", None)}
    if "drop_last" in config:
        batches["drop_last"] = config.pop("drop_last")
    return runner.build_dataloader({**config, "batch_sampler": batches}, seed=runner.seed)


def common_seed(runner: Runner) -> int:
    """The seed of a run, also where processes have seeds of their own."""
    seed = [runner.seed]
    broadcast_object_list(seed)
    return seed[0]


def seed_generators(*key: int) -> None:
    """Seed the generators of Python, numpy and torch with a hash of a few numbers."""
    words = np.random.SeedSequence(key).generate_state(4)
    np.random.seed(words)
    random.seed(words.tobytes())
    torch.manual_seed(int.from_bytes(words[:2].tobytes(), "little"))
