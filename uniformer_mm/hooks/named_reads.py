"""Errors while evaluating that name the file at fault."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from uniformer_mm.datasets.reading import NamedReads


class NamedReadsHook(Hook):
    """Has the samples of validation and testing read in a way that names those that cannot be."""

    def before_val(self, runner: Runner) -> None:
        """The data loader is there now."""
        dataset = runner.val_dataloader.dataset
        dataset.__getitems__ = NamedReads(dataset)

    def before_test(self, runner: Runner) -> None:
        """The data loader is there now."""
        dataset = runner.test_dataloader.dataset
        dataset.__getitems__ = NamedReads(dataset)
