"""Weights into a model: matched by name, reported in full, and never silently nothing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmengine.logging import print_log
from mmengine.model import update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import Tensor, nn

from uniformer_mm.checkpoints.causes import differences
from uniformer_mm.checkpoints.head_dims import check_head_dim
from uniformer_mm.checkpoints.naming import BACKBONE, to_model_names
from uniformer_mm.checkpoints.reading import find_state_dict, read_checkpoint
from uniformer_mm.checkpoints.sources import CheckpointError
from uniformer_mm.errors import printable

OUTPUT = re.compile(r"norm([1-4]|_cls)?$")
"""Norms at the outputs: a model has those that its task needs."""

CLASSIFIER = re.compile(r"(head|aux_head|head_cls|cls_head)$")

STAGE = re.compile(r"(?:patch_embed|blocks)([1-4])$")
"""Parts of a stage; those behind the last output are not built."""

STAGE_OF_TOKEN = {"cls_token": 3, "cls_upsample": 4}
"""From which stage on a light model has them."""

TEMPORAL = re.compile(r"blocks[34]\.\d+\.t_(norm|attn)\.")
"""The temporal step of divided attention, which starts out without effect."""


@dataclass
class LoadReport:
    """What became of every tensor, by name."""

    source: str
    matched: list[str] = field(default_factory=list)
    inflated: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    kept_at_init: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """Whether something matches, and nothing is wrong."""
        wrong = self.missing or self.misshapen or self.unexpected
        return bool(self.matched or self.inflated) and not wrong

    def __str__(self) -> str:
        """One line with the counts, then the first names of what is not a plain match."""
        total = len(self.matched) + len(self.inflated)
        source = printable(self.source)
        lines = [
            f"loaded {total} tensors from {source}"
            if self.fits
            else f"{source} does not fit the model: nothing was loaded, {total} tensors match"
        ]
        for title, names in (
            ("inflated from images to videos", self.inflated),
            ("dropped on purpose", self.dropped),
            ("not of a UniFormer, ignored", self.ignored),
            ("left at their initial values on purpose", self.kept_at_init),
            ("missing", self.missing),
            ("of another shape or type", self.misshapen),
            ("that the model has no place for", self.unexpected),
        ):
            if names:
                shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
                lines.append(f"  {len(names)} {title}: {shown}")
        return "\n".join(lines)


def load_pretrained(
    model: nn.Module,
    checkpoint: str,
    prefix: str | None = None,
    map_location: str = "cpu",
    may_miss: Sequence[str] = (),
) -> LoadReport:
    """Load a backbone's weights from any checkpoint that has them.

    Tensors of a video model that the checkpoint has for images are inflated: repeated over time
    and divided by the number of frames, so that a still clip gives the image's result
    (arXiv 2201.04676, Section 4.1).

    Args:
        model: The backbone.
        checkpoint: Path, URL, `hf://OWNER/REPOSITORY/FILE` or name of a model of the zoo; `.pth` or
            `.safetensors`.
        prefix: Take only tensors whose names begin with this, and cut it off. By default the
            known prefixes are found.
        map_location: Device to read the tensors to.
        may_miss: Last parts of the names of tensors that may be missing, e.g. `gamma_1` to add
            layer scale to a model that was trained without.

    Returns:
        What was loaded; it is logged as well.

    Raises:
        CheckpointError: The file cannot be read, nothing in it matches, or a tensor of the
            backbone is missing, has another shape, or has no place in the model.
    """
    content = read_checkpoint(checkpoint, map_location)
    state = find_state_dict(content, checkpoint)
    check_head_dim(content, checkpoint, getattr(model, "head_dim", None))
    target = model.state_dict()
    state = to_model_names(state, target) if prefix is None else _cut(state, prefix, checkpoint)
    fitting, report = match(state, target, checkpoint, exact=False, may_miss=may_miss)
    model.load_state_dict(fitting, strict=False)
    print_log(str(report), logger="current")
    return report


@WEIGHT_INITIALIZERS.register_module()
class UniFormerPretrained:
    """Initializer that loads a checkpoint and raises if it does not fit.

    `UniFormer` uses it for ``init_cfg=dict(type='Pretrained', ...)``.

    Args:
        **options: Of `load_pretrained`.

    Raises:
        CheckpointError: The checkpoint cannot be read or does not fit the backbone.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options

    def __call__(self, module: nn.Module) -> None:
        """Load the checkpoint into a backbone."""
        load_pretrained(module, **self.options)
        if hasattr(module, "_params_init_info"):
            update_init_info(module, init_info=f"{type(self).__name__}: {self.options}")


def match(
    state: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    source: str,
    *,
    exact: bool = True,
    new_heads: bool = False,
    may_miss: Sequence[str] = (),
) -> tuple[dict[str, Tensor], LoadReport]:
    """Compare a checkpoint with a model, tensor by tensor.

    Args:
        state: Tensors of the checkpoint, under the model's names.
        target: The model's own: of a backbone, or of a whole model whose backbone's names begin
            with `backbone.`.
        source: Where the checkpoint is from, for the report.
        exact: Whether all of the model has to be there, to be run as it is. To be trained on, it
            may lack what the task of the checkpoint did not need: the norms at the outputs, heads,
            and the temporal step of divided attention.
        new_heads: Whether heads that the checkpoint has for something else start anew as well.
        may_miss: Last parts of the names of tensors that may be missing.

    Returns:
        The tensors to load, in the shapes of the model, and the report.

    Raises:
        CheckpointError: Nothing matches, or a tensor that has to be there is missing, has another
            shape, or has no place in the model.
    """
    report = LoadReport(source)
    whole = any(name.startswith(BACKBONE) for name in target)
    heads = {name for name in target if whole and not name.startswith(BACKBONE)}
    heads_start_anew = not exact and (new_heads or heads.isdisjoint(state))
    given = {_part(name) for name in state}
    divided = any(TEMPORAL.match(name.removeprefix(BACKBONE)) for name in state)

    def may_be_absent(name: str) -> bool:
        if name.rsplit(".", 1)[-1] in ("num_batches_tracked", *may_miss):
            return True
        other_output = OUTPUT.match(_part(name)) and _part(name) not in given
        added_step = TEMPORAL.match(name.removeprefix(BACKBONE)) and not divided
        return not exact and bool(other_output or added_step)

    fitting = {}
    for name, tensor in target.items():
        if name in state and tensor.is_floating_point() and not state[name].is_floating_point():
            report.misshapen.append(f"{name} {state[name].dtype} instead of {tensor.dtype}")
        elif name in state and state[name].shape == tensor.shape:
            fitting[name] = state[name]
            report.matched.append(name)
        elif name in state and _can_inflate(state[name], tensor):
            fitting[name] = inflate(state[name], tensor.shape[2])
            report.inflated.append(name)
        elif name in heads and heads_start_anew:
            report.kept_at_init.append(name)
        elif name in state:
            shapes = f"{tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
            report.misshapen.append(f"{name} {shapes}")
        else:
            (report.kept_at_init if may_be_absent(name) else report.missing).append(name)
    built = {_part(name) for name in target.keys() - heads}
    last_stage = max((_stage(part) for part in built), default=0)
    for name in sorted(state.keys() - target.keys()):
        part = _part(name)
        if whole and not name.startswith(BACKBONE):
            report.dropped.append(name)
        elif part in built or 0 < _stage(part) <= last_stage:
            report.unexpected.append(name)
        elif OUTPUT.match(part) or CLASSIFIER.match(part) or _stage(part):
            report.dropped.append(name)
        else:
            report.ignored.append(name)
    if not report.fits:
        raise CheckpointError(f"{report}\nLikely cause: {_cause(report, state, target)}")
    return fitting, report


def inflate(weight: Tensor, frames: int) -> Tensor:
    """Image convolution (O, I, H, W) to a video convolution (O, I, T, H, W) of the same mean."""
    return weight.unsqueeze(2).repeat(1, 1, frames, 1, 1) / frames


def _cause(report: LoadReport, state: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> str:
    """Why a checkpoint does not fit, as advice."""
    if not (report.matched or report.inflated):
        theirs, ours = (
            ", ".join(name.removeprefix(BACKBONE) for name in sorted(names)[:3])
            for names in (state, target)
        )
        return (
            "it is no UniFormer checkpoint, or its names need a prefix cut off. Nothing matched: it"
            f" has {theirs}, ...; the model has {ours}, ..."
        )
    wrong = [*report.missing, *report.misshapen, *report.unexpected]
    whole = any(name.startswith(BACKBONE) for name in target)
    in_backbone = [name for name in wrong if not whole or name.startswith(BACKBONE)]
    if in_backbone and (found := differences(state, target)):
        return found
    if whole and all(name.startswith(BACKBONE) for name in state.keys() & target.keys()):
        return "it has a backbone only: to train from it, give it as load_from (--load-from)"
    if in_backbone:
        return "the file was changed, or is of other code: all settings that show agree"
    cause = (
        "it is the checkpoint of another config: use that"
        if report.missing
        else "it was trained with another number of classes: set num_classes of the heads and the"
        " dataset's classes to those of the checkpoint"
    )
    return (
        f"{cause}. To train from it with heads that start anew:"
        " tools/train.py ... --load-from CHECKPOINT --new-heads; in a config of your own,"
        " custom_hooks = [dict(type='mmengine.FitCheckpointHook', new_heads=True)]"
    )


def _cut(state: Mapping[str, Tensor], prefix: str, source: str) -> dict[str, Tensor]:
    prefix = prefix.removeprefix("module.").rstrip(".") + "."
    names = {name: name.removeprefix("module.") for name in state}
    found = {
        short.removeprefix(prefix): state[name]
        for name, short in names.items()
        if short.startswith(prefix)
    }
    if not found:
        raise CheckpointError(
            f"no tensor in {source} has the prefix {prefix!r}: it has"
            f" {', '.join(sorted(state)[:3])}, ..."
        )
    return found


def _can_inflate(source: Tensor, target: Tensor) -> bool:
    return (
        source.dim() == 4
        and target.dim() == 5
        and source.shape == target.shape[:2] + target.shape[3:]
    )


def _part(name: str) -> str:
    """The first part of a name inside the backbone."""
    return name.removeprefix(BACKBONE).split(".", 1)[0]


def _stage(part: str) -> int:
    """The stage from 1 that a part of a backbone belongs to, 0 if to none."""
    stage = STAGE.match(part)
    return int(stage[1]) if stage else STAGE_OF_TOKEN.get(part, 0)
