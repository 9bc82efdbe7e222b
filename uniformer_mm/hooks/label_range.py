"""Stop at labels that are no class of the model, and say where they come from."""

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from uniformer_mm.errors import UserError


@HOOKS.register_module()
class LabelRangeHook(Hook):
    """Checks the label maps of segmentation against the number of classes.

    Without it such a label ends training in an IndexError or, on a GPU, in an assertion that names
    nothing; in validation it counts as unlabelled.

    Args:
        ignore_index: Label of pixels that are not labelled.

    Raises:
        UserError: In an iteration whose labels are out of range.
    """

    def __init__(self, ignore_index: int = 255) -> None:
        self.ignore_index = ignore_index

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any] | None = None
    ) -> None:
        """Check before the loss sees the labels."""
        assert data_batch is not None
        self._check(runner, data_batch["data_samples"])

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: Sequence[Any] | None = None,
        mode: str = "train",
    ) -> None:
        if mode != "train":
            self._check(runner, outputs or ())

    def _check(self, runner: Runner, samples: Sequence[Any]) -> None:
        model = runner.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        count = model.num_classes
        for sample in samples:
            if "gt_sem_seg" not in sample:
                continue
            labels = sample.gt_sem_seg.data
            wrong = labels[(labels >= count) & (labels != self.ignore_index)]
            if len(wrong):
                path, label = sample.get("seg_map_path", "a label map"), int(wrong.max())
                in_file = f" ({label + 1} in the file)" if sample.get("reduce_zero_label") else ""
                raise UserError(
                    f"{path} has the label {label}{in_file}, but the model has {count} classes,"
                    f" labels 0 to {count - 1}, and {self.ignore_index} where nothing is labelled."
                    " Set num_classes of every head and the classes of the datasets, or correct"
                    " the file."
                )
