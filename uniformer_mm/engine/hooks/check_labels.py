"""Stop at labels that are not classes of the model, and name their file."""

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.nn import ModuleList

from uniformer_mm.datasets.validation.label_maps import jpeg_hint
from uniformer_mm.errors import UserError


@HOOKS.register_module(name=["CheckLabelsHook", "LabelRangeHook"])  # the latter: earlier configs
class CheckLabelsHook(Hook):
    """Check the label maps of segmentation against the number of classes.

    Otherwise such a label raises an IndexError or, on a GPU, a device-side assertion in training,
    and counts as not labelled in validation. Pixels with the `ignore_index` of all heads pass.

    Raises:
        UserError: In an iteration whose labels are out of range.
    """

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any] | None = None
    ) -> None:
        """Check the labels before the loss reads them."""
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
        count, ignored = model.num_classes, ignored_label(model)
        for sample in samples:
            if "gt_sem_seg" not in sample:
                continue
            labels = sample.gt_sem_seg.data
            wrong = labels[labels >= count]
            if ignored is not None:
                wrong = wrong[wrong != ignored]
            if len(wrong):
                path, label = sample.get("seg_map_path", "a label map"), int(wrong.max())
                in_file = f" ({label + 1} in the file)" if sample.get("reduce_zero_label") else ""
                raise UserError(
                    f"{path} has the label {label}{in_file}, but the model has {count} classes,"
                    f" labels 0 to {count - 1}, and {ignored} where nothing is labelled"
                    f" (ignore_index of the heads).{jpeg_hint(path)} Set num_classes of every head"
                    " and the classes of the datasets, or correct the file."
                )


def ignored_label(model: Any) -> int | None:
    """Return the `ignore_index` of all heads of a segmentor; None without one, or with several."""
    heads = [getattr(model, name, None) for name in ("decode_head", "auxiliary_head")]
    parts = [part for head in heads for part in (head if isinstance(head, ModuleList) else [head])]
    found = [getattr(part, "ignore_index", None) for part in parts if part is not None]
    return found[0] if found and len(set(found)) == 1 else None
