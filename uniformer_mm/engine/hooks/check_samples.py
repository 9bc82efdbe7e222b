"""Errors of data loaders that name the file at fault."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from uniformer_mm.datasets.error_context import ErrorContextDataset
from uniformer_mm.datasets.validation.image_sizes import check_image_sizes


class CheckSamplesHook(Hook):
    """Name samples that cannot be read, or whose image has another size than its annotations state.

    Training loops read through `read_sample` themselves.
    """

    def before_train(self, runner: Runner) -> None:
        """Prepare the dataset of the training loop."""
        check_image_sizes(runner.train_dataloader.dataset)

    def before_val(self, runner: Runner) -> None:
        """Prepare the dataset of the validation loop."""
        self._prepare(runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Prepare the dataset of the test loop."""
        self._prepare(runner.test_dataloader.dataset)

    def _prepare(self, dataset: Any) -> None:
        check_image_sizes(dataset)
        dataset.__getitems__ = ErrorContextDataset(dataset).__getitems__
