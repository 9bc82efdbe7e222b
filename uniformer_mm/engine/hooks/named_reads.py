"""Errors of data loaders that name the file at fault."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from uniformer_mm.datasets.error_context import NamedReads
from uniformer_mm.datasets.validation.image_sizes import check_image_sizes


class NamedReadsHook(Hook):
    """Has samples read in a way that names those that cannot be, or whose image has another size.

    Training loops have their own way to read.
    """

    def before_train(self, runner: Runner) -> None:
        """The data loader is there now."""
        check_image_sizes(runner.train_dataloader.dataset)

    def before_val(self, runner: Runner) -> None:
        """The data loader is there now."""
        dataset = runner.val_dataloader.dataset
        check_image_sizes(dataset)
        dataset.__getitems__ = NamedReads(dataset)

    def before_test(self, runner: Runner) -> None:
        """The data loader is there now."""
        dataset = runner.test_dataloader.dataset
        check_image_sizes(dataset)
        dataset.__getitems__ = NamedReads(dataset)
