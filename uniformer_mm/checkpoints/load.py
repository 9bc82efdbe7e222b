"""Load checkpoints into models: matched by name, reported in full, never silently nothing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.model import update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import Tensor, nn

from uniformer_mm.checkpoints.causes import option_differences
from uniformer_mm.checkpoints.download import locate
from uniformer_mm.checkpoints.facts import check_head_dim
from uniformer_mm.checkpoints.io import find_state_dict, read_file
from uniformer_mm.checkpoints.names import BACKBONE, to_model_names
from uniformer_mm.errors import CheckpointError, printable

OUTPUT = re.compile(r"norm([1-4]|_cls)?$")
"""Output norms: a model has those that its task needs."""

STAGE = re.compile(r"(?:patch_embed|blocks)([1-4])$")
"""Modules of a stage; stages after the last output are not built."""

STAGE_OF_TOKEN = {"cls_token": 3, "cls_upsample": 4}
"""First stage in which a lightweight model has them."""

TEMPORAL = re.compile(r"blocks[34]\.\d+\.t_(norm|attn)\.")
"""The temporal step of divided attention, which is the identity at initialization."""


@dataclass
class LoadReport:
    """What happened to each tensor, by name."""

    path: Path
    matched: list[str] = field(default_factory=list)
    inflated: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    kept_at_init: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """Whether some tensors match and there are no errors."""
        errors = self.missing or self.mismatched or self.unexpected
        return bool(self.matched or self.inflated) and not errors

    def __str__(self) -> str:
        """One line with the counts, then the first names of each category."""
        total, path = len(self.matched) + len(self.inflated), printable(str(self.path))
        lines = [
            f"loaded {total} tensors from {path}"
            if self.fits
            else f"{path} does not fit the model: nothing was loaded, {total} tensors match"
        ]
        for title, names in (
            ("inflated from images to videos", self.inflated),
            ("dropped, of modules that the model does not have", self.dropped),
            ("kept at initialization", self.kept_at_init),
            ("missing keys", self.missing),
            ("size or dtype mismatch", self.mismatched),
            ("unexpected keys", self.unexpected),
        ):
            if names:
                shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
                lines.append(f"  {len(names)} {title}: {shown}")
        return "\n".join(lines)


def read_checkpoint(source: str, map_location: Any = "cpu") -> Any:
    """Locate and read a checkpoint; also the loader that mmengine calls.

    Args:
        source: As for `locate`.
        map_location: As for `torch.load`.

    Raises:
        CheckpointError: There is no such file, or it is not a checkpoint of plain data.
    """
    return read_file(locate(source), map_location)


def load_pretrained(
    model: nn.Module,
    checkpoint: str,
    prefix: str | None = None,
    map_location: str = "cpu",
    may_miss: Sequence[str] = (),
) -> LoadReport:
    """Load the weights of a backbone from any checkpoint that has them.

    Image weights for a video model are inflated: repeated over time and divided by the number of
    frames, so that a still clip gives the same output as the image (arXiv 2201.04676, Section 4.1).

    Args:
        model: The backbone.
        checkpoint: Path, URL, `hf://OWNER/REPOSITORY[@REVISION]/FILE` or name of a model of the
            zoo; `.pth` or `.safetensors`.
        prefix: Load only tensors whose names begin with it, without it. By default the known
            prefixes are found.
        map_location: Device to read the tensors to.
        may_miss: Last parts of the names of tensors that may be missing, e.g. `gamma_1` to add
            layer scale to a model that was trained without.

    Returns:
        What was loaded; it is logged as well.

    Raises:
        CheckpointError: The file cannot be read, nothing in it matches, or the backbone has missing
            or unexpected keys or size mismatches.
    """
    path = locate(checkpoint)
    content = read_file(path, map_location)
    state = find_state_dict(content, path)
    check_head_dim(content, path, getattr(model, "head_dim", None))
    target = model.state_dict()
    state = to_model_names(state, target) if prefix is None else _select(state, prefix, path)
    fitting, report = align_state_dict(state, target, path, exact=False, may_miss=may_miss)
    model.load_state_dict(fitting, strict=False)
    print_log(str(report), logger="current")
    return report


def load_whole(model: nn.Module, content: Any, path: Path) -> tuple[dict[str, Tensor], LoadReport]:
    """Align the state dict of a checkpoint with the whole model it belongs to.

    Args:
        model: The model.
        content: Content of the checkpoint.
        path: Its file.

    Raises:
        CheckpointError: A tensor of the model is missing, the checkpoint has heads that the model
            does not have, or its attention heads have another size.
    """
    check_head_dim(content, path, getattr(getattr(model, "backbone", None), "head_dim", None))
    target = model.state_dict()
    state = to_model_names(find_state_dict(content, path), target)
    fitting, report = align_state_dict(state, target, path)
    if heads := [name for name in report.dropped if not name.startswith(BACKBONE)]:
        raise CheckpointError(
            f"{path} belongs to another config: unexpected keys {', '.join(heads[:3])}"
            f"{', ...' if len(heads) > 3 else ''}"
        )
    return fitting, report


@WEIGHT_INITIALIZERS.register_module()
class UniFormerPretrained:
    """Initializer that loads a checkpoint and raises if it does not fit.

    `UniFormer` uses it for ``init_cfg=dict(type='Pretrained', ...)``.

    Args:
        **options: Options of `load_pretrained`.

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


def align_state_dict(
    state: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    path: Path,
    *,
    exact: bool = True,
    new_heads: bool = False,
    may_miss: Sequence[str] = (),
) -> tuple[dict[str, Tensor], LoadReport]:
    """Compare the tensors of a checkpoint with those of a model.

    Args:
        state: Tensors of the checkpoint, under the model's names.
        target: State dict of the model: a backbone, or a whole model with names that begin with
            `backbone.`.
        path: File of the checkpoint, for the report.
        exact: Whether every tensor of the model is needed, as in testing. For training, output
            norms, heads and the temporal step of divided attention may be missing if the task of
            the checkpoint did not need them.
        new_heads: Whether to re-initialize heads whose number of classes differs.
        may_miss: Last parts of the names of tensors that may be missing.

    Returns:
        The tensors to load, in the shapes of the model, and the report.

    Raises:
        CheckpointError: Nothing matches, or there are missing or unexpected keys or mismatches.
    """
    report = LoadReport(path)
    whole = any(name.startswith(BACKBONE) for name in target)
    heads = {name for name in target if whole and not name.startswith(BACKBONE)}
    heads_may_differ = not exact and (new_heads or heads.isdisjoint(state))
    given = {_module(name) for name in state}
    divided = any(TEMPORAL.match(name.removeprefix(BACKBONE)) for name in state)

    def may_be_missing(name: str) -> bool:
        if name.rsplit(".", 1)[-1] in ("num_batches_tracked", *may_miss):
            return True
        other_output = OUTPUT.match(_module(name)) and _module(name) not in given
        added_step = TEMPORAL.match(name.removeprefix(BACKBONE)) and not divided
        return not exact and bool(other_output or added_step)

    fitting = {}
    for name, ours in target.items():
        theirs = state.get(name)
        if theirs is not None and ours.is_floating_point() and not theirs.is_floating_point():
            report.mismatched.append(f"{name} {theirs.dtype} instead of {ours.dtype}")
        elif theirs is not None and theirs.shape == ours.shape:
            fitting[name] = theirs
            report.matched.append(name)
        elif theirs is not None and _can_inflate(theirs, ours):
            fitting[name] = inflate(theirs, ours.shape[2])
            report.inflated.append(name)
        elif name in heads and heads_may_differ:
            report.kept_at_init.append(name)
        elif theirs is not None:
            shapes = f"{tuple(theirs.shape)} instead of {tuple(ours.shape)}"
            report.mismatched.append(f"{name} {shapes}")
        else:
            (report.kept_at_init if may_be_missing(name) else report.missing).append(name)
    built = {_module(name) for name in target.keys() - heads}
    last_stage = max((_stage(module) for module in built), default=0)
    for name in sorted(state.keys() - target.keys()):
        module = _module(name)
        of_backbone = name.startswith(BACKBONE) or not whole
        needed = of_backbone and (module in built or 0 < _stage(module) <= last_stage)
        (report.unexpected if needed else report.dropped).append(name)
    if not report.fits:
        raise CheckpointError(f"{report}\nLikely cause: {_cause(report, state, target)}")
    return fitting, report


def inflate(weight: Tensor, frames: int) -> Tensor:
    """Inflate an image kernel (O, I, H, W) to a video kernel (O, I, T, H, W) with the same sum."""
    return weight.unsqueeze(2).repeat(1, 1, frames, 1, 1) / frames


def _cause(report: LoadReport, state: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> str:
    """Explain why a checkpoint does not fit, with a remedy."""
    if not (report.matched or report.inflated):
        theirs, ours = (
            ", ".join(name.removeprefix(BACKBONE) for name in sorted(names)[:3])
            for names in (state, target)
        )
        return (
            "it is not a UniFormer checkpoint, or its names have an unknown prefix. No key matches:"
            f" it has {theirs}, ...; the model has {ours}, ..."
        )
    errors = [*report.missing, *report.mismatched, *report.unexpected]
    whole = any(name.startswith(BACKBONE) for name in target)
    in_backbone = [name for name in errors if not whole or name.startswith(BACKBONE)]
    if in_backbone and (differences := option_differences(state, target)):
        return differences
    if whole and all(name.startswith(BACKBONE) for name in state.keys() & target.keys()):
        return "it has a backbone only: to train from it, give it as load_from (--load-from)"
    if in_backbone:
        return "the file was modified or is of other code: no option of the backbone differs"
    cause = (
        "it is the checkpoint of another config: use that config"
        if report.missing
        else "it was trained with another number of classes: set num_classes of the heads and the"
        " dataset's classes to those of the checkpoint"
    )
    return (
        f"{cause}. To train from it, re-initialize heads whose number of classes differs:"
        " tools/train.py ... --load-from CHECKPOINT --new-heads; in a config of your own,"
        " custom_hooks = [dict(type='mmengine.FitCheckpointHook', new_heads=True)]"
    )


def _select(state: Mapping[str, Tensor], prefix: str, path: Path) -> dict[str, Tensor]:
    """Select the tensors under a prefix, and remove it from their names."""
    prefix = prefix.removeprefix("module.").rstrip(".") + "."
    names = {name: name.removeprefix("module.") for name in state}
    selected = {new: state[old] for old, new in names.items() if new.startswith(prefix)}
    if not selected:
        some = ", ".join(sorted(state)[:3])
        raise CheckpointError(f"no tensor in {path} has the prefix {prefix!r}: it has {some}, ...")
    return {name.removeprefix(prefix): tensor for name, tensor in selected.items()}


def _can_inflate(theirs: Tensor, ours: Tensor) -> bool:
    return theirs.dim() == 4 and ours.dim() == 5 and theirs.shape == ours.shape[:2] + ours.shape[3:]


def _module(name: str) -> str:
    """First part of a tensor's name inside the backbone."""
    return name.removeprefix(BACKBONE).split(".", 1)[0]


def _stage(module: str) -> int:
    """Stage from 1 that a module of a backbone belongs to; 0 for none."""
    stage = STAGE.match(module)
    return int(stage[1]) if stage else STAGE_OF_TOKEN.get(module, 0)
