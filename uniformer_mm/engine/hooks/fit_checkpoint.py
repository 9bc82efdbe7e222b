"""Fit the checkpoint of a whole model to the config's model, or say why it does not fit."""

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, CheckpointLoader, Runner
from torch import Tensor, nn

from uniformer_mm.checkpoints.head_dims import check_head_dim, describe_backbone
from uniformer_mm.checkpoints.load import match
from uniformer_mm.checkpoints.names import BACKBONE, to_model_names
from uniformer_mm.checkpoints.reading import find_state_dict, read_checkpoint
from uniformer_mm.errors import CheckpointError
from uniformer_mm.models import UniFormer


class FitCheckpointHook(Hook):
    """Lets `load_from` and `resume` take any UniFormer checkpoint, and take it whole.

    The tools of this package always have it. In a config of your own, with any codebase's tools:
    ``custom_hooks = [dict(type="mmengine.FitCheckpointHook")]``.

    Sources are those of `init_cfg`: paths, URLs, `hf://OWNER/REPOSITORY/FILE` and names of the zoo,
    `.pth` and `.safetensors`, read as data only. Official files (ImageNet, token labelling, MM 1.x
    detectors, segmenters and pose estimators, SlowFast videos) get this model's names; image
    weights of a video model are inflated. mmengine by itself loads what fits and logs the rest, so
    that a checkpoint of another model or of other classes is evaluated with random heads. Here:

    - testing and resuming need every tensor of the model, in the right shape;
    - training on from `load_from` needs every tensor of the backbone, and the heads if the file
      has any: `new_heads` lets those that do not fit be re-initialized;
    - a model of several models (a student and its teacher, a tracker) takes the names that it
      knows, but there has to be something for one of its UniFormers.

    The report of the whole is logged. A moving average in the file (`ema_state_dict`) is fitted as
    the model is.

    Args:
        exact: Whether nothing may be missing; by default while testing and resuming.
        new_heads: Whether heads of other classes start anew.

    Raises:
        CheckpointError: At loading time, if the checkpoint does not fit.
    """

    priority = "VERY_HIGH"  # before the hook that copies the weights into a moving average

    def __init__(self, exact: bool | None = None, new_heads: bool = False) -> None:
        self.exact = exact
        self.new_heads = new_heads
        self._load_watch: LoadWatch | None = None

    def before_run(self, runner: Runner) -> None:
        """Let mmengine read files and URLs as we do; the model is initialised after this."""
        CheckpointLoader.register_scheme(
            prefixes=["", "http://", "https://", "hf://"], loader=load_from_uniformer_mm, force=True
        )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Write what no tensor tells: the size of the backbone's attention heads."""
        checkpoint.setdefault("meta", {}).update(describe_backbone(_unwrapped(runner.model)))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Replace the state dict by one of the model's names and shapes, without gaps."""
        source = str(runner._load_from or f"the last checkpoint in {runner.work_dir}")
        state = find_state_dict(checkpoint, source)
        if runner._resume:
            check_resumable(checkpoint, source, bool(runner.param_schedulers))
        model = _unwrapped(runner.model)
        if runner._resume and not describe_backbone(model).keys() <= checkpoint["meta"].keys():
            raise CheckpointError(
                f"training cannot go on from {source}: it was saved by an earlier version, or"
                " without FitCheckpointHook. The optimizer's state has the parameters by number,"
                " and earlier versions have them in another order. To start from its weights, give"
                " it as load_from without resume (--load-from)"
            )
        target = model.state_dict()
        if not any(name.startswith(BACKBONE) for name in target):
            # A student and its teacher, a tracker ...: names are for the model to understand.
            checkpoint["state_dict"] = dict(state)
            self._load_watch = LoadWatch(model, source)
            return
        exact = self.exact
        if exact is None:
            exact = runner._resume or not isinstance(runner._train_loop, BaseLoop)
        if not runner._resume:
            check_head_dim(checkpoint, source, getattr(model.backbone, "head_dim", None))

        def fitted(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            fitting, report = match(
                to_model_names(tensors, target),
                target,
                source,
                exact=exact,
                new_heads=self.new_heads,
            )
            if tensors is state:
                print_log(str(report), logger="current")
            return {**target, **fitting}  # with all names mmengine has nothing to complain of

        checkpoint["state_dict"] = fitted(state)
        if average := checkpoint.get("ema_state_dict"):
            prefix = "module."
            names = [name for name in average if name.startswith(prefix)]
            weights = fitted({name.removeprefix(prefix): average[name] for name in names})
            others = {name: average[name] for name in average.keys() - names}  # steps
            renamed = {f"{prefix}{name}": weight for name, weight in weights.items()}
            checkpoint["ema_state_dict"] = {**others, **renamed}

    def before_train(self, runner: Runner) -> None:
        """Refuse to go on with what was not loaded."""
        self._check_load()

    def before_val(self, runner: Runner) -> None:
        """Likewise."""
        self._check_load()

    def before_test(self, runner: Runner) -> None:
        """Likewise."""
        self._check_load()

    def _check_load(self) -> None:
        watch, self._load_watch = self._load_watch, None
        if watch:
            watch.check()


class LoadWatch:
    """Sees whether the next state dict that a model takes has something for a UniFormer in it.

    Args:
        model: A model that may give a state dict's tensors other names while it takes them.
        source: Where the state dict is from, for the error.
    """

    def __init__(self, model: nn.Module, source: str) -> None:
        self._source = source
        self._missed: list[str] = []
        self._loaded = False
        backbones = [module for module in model.modules() if isinstance(module, UniFormer)]
        self._handles = [
            backbone.register_load_state_dict_pre_hook(self._see) for backbone in backbones
        ]

    def _see(self, module: nn.Module, state: Mapping[str, Tensor], prefix: str, *_: Any) -> None:
        if any(name.startswith(prefix) for name in state):
            self._loaded = True
        else:
            self._missed.append(prefix)

    def check(self) -> None:
        """End watching.

        Raises:
            CheckpointError: There was nothing for any UniFormer.
        """
        for handle in self._handles:
            handle.remove()
        if self._missed and not self._loaded:
            raise CheckpointError(
                f"nothing in {self._source} is for a UniFormer of this model: no name begins with"
                f" {' or '.join(map(repr, self._missed))}. Load it as the init_cfg of a backbone,"
                " dict(type='Pretrained', checkpoint=...), or give its tensors these names"
            )


def _unwrapped(model: Any) -> Any:
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def check_resumable(checkpoint: Mapping[str, Any], source: str, with_schedule: bool) -> None:
    """Complain of what mmengine would leave as it is at the start, without a word.

    Raises:
        CheckpointError: The checkpoint has not all that a training run of mmengine's saves.
    """
    needed = ["message_hub", "optimizer", *["param_schedulers"] * with_schedule]
    absent = [key for key in needed if key not in checkpoint]
    meta = checkpoint.get("meta") or {}
    absent += [f"meta.{key}" for key in ("epoch", "iter") if key not in meta]
    if absent:
        raise CheckpointError(
            f"training cannot go on from {source}: it has no {', '.join(absent)}. To start from its"
            " weights, give it as load_from without resume (--load-from)"
        )


def load_from_uniformer_mm(filename: str, map_location: Any = None) -> Any:
    """`read_checkpoint` as mmengine calls it; its log shows the name from the tenth letter on."""
    return read_checkpoint(filename, map_location)
