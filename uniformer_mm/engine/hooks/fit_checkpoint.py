"""Fit the checkpoint of a whole model to the config's model, or explain why it does not fit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, CheckpointLoader, Runner
from torch import Tensor, nn

from uniformer_mm.checkpoints import LoadReport, locate, read_checkpoint
from uniformer_mm.checkpoints.download import SCHEMES
from uniformer_mm.checkpoints.facts import check_head_dim, describe_backbone
from uniformer_mm.checkpoints.io import find_state_dict
from uniformer_mm.checkpoints.load import align_state_dict
from uniformer_mm.checkpoints.names import BACKBONE, to_model_names
from uniformer_mm.errors import CheckpointError
from uniformer_mm.models import UniFormer

START_FROM_WEIGHTS = "To start from its weights, give it as load_from without resume (--load-from)"
AVERAGE = "module."
"""Prefix of the weights in the state dict of a moving average."""


class FitCheckpointHook(Hook):
    """Lets `load_from` and `resume` take any UniFormer checkpoint, completely or not at all.

    The tools of this package always have it. In a config of your own, with any codebase's tools:
    ``custom_hooks = [dict(type="mmengine.FitCheckpointHook")]``.

    Sources are those of `init_cfg`: paths, URLs, `hf://OWNER/REPOSITORY[@REVISION]/FILE` and names
    of the zoo, `.pth` and `.safetensors`, read as data only. The keys of official files (ImageNet,
    token labelling, MM 1.x detectors, segmenters and pose estimators, SlowFast videos) are renamed;
    image weights of a video model are inflated. mmengine alone loads what fits and logs the rest,
    so that a checkpoint of another model or of other classes is evaluated with random heads. Here:

    - testing and resuming need every tensor of the model, in the right shape;
    - training with `load_from` needs every tensor of the backbone, and the heads if the file has
      any: `new_heads` re-initializes those whose number of classes differs;
    - a model of several models (a student and its teacher, a tracker) renames keys itself, but
      there has to be something for one of its UniFormers.

    The report is logged. A moving average in the file (`ema_state_dict`) is fitted like the model.

    Args:
        exact: Whether nothing may be missing; by default while testing and resuming.
        new_heads: Whether to re-initialize heads whose number of classes differs.

    Raises:
        CheckpointError: At loading time, if the checkpoint does not fit.
    """

    priority = "VERY_HIGH"  # before the hook that copies the weights into a moving average

    def __init__(self, exact: bool | None = None, new_heads: bool = False) -> None:
        self.exact = exact
        self.new_heads = new_heads
        self._load_watch: LoadWatch | None = None

    def before_run(self, runner: Runner) -> None:
        """Locate `load_from`, and let mmengine read files and URLs with our reader.

        A second run, such as a test after training, loads nothing, and the file of the first may
        have been removed since, as an old checkpoint.
        """
        if runner._has_loaded:
            return
        source = str(runner._load_from or "")
        if source and ("://" not in source or source.startswith(SCHEMES)):
            runner._load_from = str(locate(source))
        CheckpointLoader.register_scheme(["", *SCHEMES], loader=load_from_uniformer_mm, force=True)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add what no tensor tells: the size of the backbone's attention heads."""
        checkpoint.setdefault("meta", {}).update(describe_backbone(_unwrap(runner.model)))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Replace the state dict by a complete one with the model's keys and shapes."""
        path = Path(runner._load_from or f"the last checkpoint in {runner.work_dir}")
        state = find_state_dict(checkpoint, path)
        model = _unwrap(runner.model)
        if runner._resume:
            check_resumable(checkpoint, path, model, bool(runner.param_schedulers))
        target = model.state_dict()
        if not any(name.startswith(BACKBONE) for name in target):
            # A student and its teacher, a tracker: the model renames keys while it loads them.
            checkpoint["state_dict"] = dict(state)
            self._load_watch = LoadWatch(model, path)
            return
        exact = self.exact
        if exact is None:
            exact = runner._resume or not isinstance(runner._train_loop, BaseLoop)
        if not runner._resume:
            check_head_dim(checkpoint, path, getattr(model.backbone, "head_dim", None))

        def fit(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], LoadReport]:
            tensors = to_model_names(tensors, target)
            fitting, report = align_state_dict(
                tensors, target, path, exact=exact, new_heads=self.new_heads
            )
            return {**target, **fitting}, report  # all keys: mmengine reports none as missing

        checkpoint["state_dict"], report = fit(state)
        print_log(str(report), logger="current")
        if average := checkpoint.get("ema_state_dict"):
            weights = {k: v for k, v in average.items() if k.startswith(AVERAGE)}
            fitted, _ = fit({k.removeprefix(AVERAGE): v for k, v in weights.items()})
            others = {k: v for k, v in average.items() if k not in weights}  # number of steps
            checkpoint["ema_state_dict"] = {
                **others,
                **{f"{AVERAGE}{k}": v for k, v in fitted.items()},
            }

    def before_train(self, runner: Runner) -> None:
        """Refuse to start if nothing was loaded into a UniFormer."""
        watch, self._load_watch = self._load_watch, None
        if watch:
            watch.check()

    before_val = before_test = before_train


class LoadWatch:
    """Watches whether the next state dict that a model loads has tensors for a UniFormer.

    Args:
        model: A model that may rename the keys of a state dict while it loads it.
        path: File of the state dict, for the error.
    """

    def __init__(self, model: nn.Module, path: Path) -> None:
        self._path = path
        self._missed: list[str] = []
        self._loaded = False
        self._handles = [
            module.register_load_state_dict_pre_hook(self._watch)
            for module in model.modules()
            if isinstance(module, UniFormer)
        ]

    def _watch(self, module: nn.Module, state: Mapping[str, Tensor], prefix: str, *_: Any) -> None:
        if any(name.startswith(prefix) for name in state):
            self._loaded = True
        else:
            self._missed.append(prefix)

    def check(self) -> None:
        """Stop watching.

        Raises:
            CheckpointError: There was nothing for any UniFormer.
        """
        for handle in self._handles:
            handle.remove()
        if self._missed and not self._loaded:
            raise CheckpointError(
                f"nothing in {self._path} is for a UniFormer of this model: no key begins with"
                f" {' or '.join(map(repr, self._missed))}. Load it as the init_cfg of a backbone,"
                " dict(type='Pretrained', checkpoint=...), or rename its keys"
            )


def _unwrap(model: Any) -> Any:
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def check_resumable(
    checkpoint: Mapping[str, Any], path: Path, model: nn.Module, with_schedule: bool
) -> None:
    """Refuse a checkpoint from which mmengine would resume a part of the training state only.

    Raises:
        CheckpointError: It lacks something that a training with this hook saves.
    """
    needed = ["message_hub", "optimizer", *["param_schedulers"] * with_schedule]
    absent = [key for key in needed if key not in checkpoint]
    meta = checkpoint.get("meta") or {}
    absent += [f"meta.{key}" for key in ("epoch", "iter") if key not in meta]
    if absent:
        raise CheckpointError(
            f"cannot resume from {path}: it has no {', '.join(absent)}. {START_FROM_WEIGHTS}"
        )
    if not describe_backbone(model).keys() <= meta.keys():
        raise CheckpointError(
            f"cannot resume from {path}: it was saved by an earlier version, or without"
            " FitCheckpointHook. The optimizer state has the parameters by number, and earlier"
            f" versions order them differently. {START_FROM_WEIGHTS}"
        )


def load_from_uniformer_mm(filename: str, map_location: Any = None) -> Any:
    """`read_checkpoint` for mmengine, which logs the name of its loader from character 10 on."""
    return read_checkpoint(filename, map_location)
