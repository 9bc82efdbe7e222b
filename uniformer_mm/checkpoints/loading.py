"""Weights into a model: matched by name, reported in full, and never silently nothing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.logging import print_log
from torch import Tensor, nn

from uniformer_mm.checkpoints.naming import BACKBONE, to_model_names
from uniformer_mm.checkpoints.reading import find_state_dict, read_checkpoint
from uniformer_mm.checkpoints.sources import CheckpointError

UNUSED = re.compile(
    r"(norm|norm_cls|head|aux_head|cls_head|head_cls|cls_token|cls_upsample"
    r"|(patch_embed|blocks|norm)[1-4])(\.|$)"
)
"""Final norms and heads of classifiers, and stages or outputs that a backbone is without."""

OUTPUT_NORM = re.compile(r"norm[1-4]\.")
"""LayerNorms at the outputs, which a classification checkpoint cannot have."""

HEAD_DIMS = {
    "uniformer_small_in1k": 64,
    "uniformer_small_plus_in1k": 32,
    "uniformer_small_plus_dim64_in1k": 64,
    "uniformer_base_in1k": 64,
    "uniformer_base_ls_in1k": 64,
    "uniformer_small_tl_224": 32,
    "uniformer_small_tl_384": 32,
    "uniformer_small_dim64_tl_224": 64,
    "uniformer_small_plus_tl_224": 32,
    "uniformer_small_plus_tl_384": 32,
    "uniformer_small_plus_dim64_tl_224": 64,
    "uniformer_base_tl_224": 32,
    "uniformer_base_tl_384": 32,
    "uniformer_base_dim64_tl_224": 64,
    "uniformer_large_ls_tl_224": 64,
    "uniformer_large_ls_tl_384": 64,
}
"""Channels of an attention head in published files, which no shape in them tells."""


@dataclass
class LoadReport:
    """What became of every tensor, by name."""

    source: str
    matched: list[str] = field(default_factory=list)
    inflated: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    kept_at_init: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line with the counts, then the first names of what is not a plain match."""
        total = len(self.matched) + len(self.inflated)
        lines = [f"loaded {total} tensors from {self.source}"]
        for title, names in (
            ("inflated from images to videos", self.inflated),
            ("dropped on purpose", self.dropped),
            ("left at their initial values on purpose", self.kept_at_init),
            ("missing", self.missing),
            ("of the wrong shape", self.misshapen),
            ("not of this model, ignored", self.unexpected),
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
            backbone is missing or has another shape.
    """
    check_head_dim(checkpoint, getattr(model, "head_dim", None))
    state = find_state_dict(read_checkpoint(checkpoint, map_location))
    target = model.state_dict()
    state = to_model_names(state, target) if prefix is None else _cut(state, prefix)
    fitting, report = match(state, target, str(checkpoint), may_miss=may_miss)
    if report.missing or report.misshapen:
        raise CheckpointError(f"{report}\n{likely_cause(report)}")
    model.load_state_dict(fitting, strict=False)
    print_log(str(report), logger="current")
    return report


def match(
    state: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    source: str,
    heads_may_differ: bool = False,
    may_miss: Sequence[str] = (),
) -> tuple[dict[str, Tensor], LoadReport]:
    """Compare a checkpoint with a model, tensor by tensor.

    Args:
        state: Tensors of the checkpoint, under the model's names.
        target: The model's own: of a backbone, or of a whole model whose backbone's names begin
            with `backbone.`.
        source: Where the checkpoint is from, for the report.
        heads_may_differ: Leave what is missing or has another shape outside of the backbone at its
            initial values.
        may_miss: Last parts of the names of tensors that may be missing.

    Returns:
        The tensors to load, in the shapes of the model, and the report. It is for the caller to
        object to what is missing or misshapen.
    """
    report = LoadReport(source)
    whole = any(name.startswith(BACKBONE) for name in target)
    classification = not any(OUTPUT_NORM.match(name.removeprefix(BACKBONE)) for name in state)
    fitting = {}
    for name, tensor in target.items():
        own = name.removeprefix(BACKBONE)
        head = whole and not name.startswith(BACKBONE)
        if name in state and state[name].shape == tensor.shape:
            fitting[name] = state[name]
            report.matched.append(name)
        elif name in state and _can_inflate(state[name], tensor):
            fitting[name] = inflate(state[name], tensor.shape[2])
            report.inflated.append(name)
        elif head and heads_may_differ:
            report.kept_at_init.append(name)
        elif name in state:
            shapes = f"{tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
            report.misshapen.append(f"{name} {shapes}")
        else:
            optional = name.rsplit(".", 1)[-1] in ("num_batches_tracked", *may_miss) or (
                classification and not head and OUTPUT_NORM.match(own)
            )
            (report.kept_at_init if optional else report.missing).append(name)
    built = {name.split(".")[0] for name in target}
    for name in sorted(state.keys() - target.keys()):
        own = name.removeprefix(BACKBONE)
        head = whole and not name.startswith(BACKBONE)
        on_purpose = UNUSED.match(own) and (whole or own.split(".")[0] not in built)
        (report.dropped if head or on_purpose else report.unexpected).append(name)
    return fitting, report


def inflate(weight: Tensor, frames: int) -> Tensor:
    """Image convolution (O, I, H, W) to a video convolution (O, I, T, H, W) of the same mean."""
    return weight.unsqueeze(2).repeat(1, 1, frames, 1, 1) / frames


def check_head_dim(checkpoint: str, head_dim: int | None) -> None:
    """Compare the size of an attention head with that of a known published file.

    Raises:
        CheckpointError: They differ: shapes would fit and results be wrong.
    """
    stem = Path(str(checkpoint)).stem
    known = next((dim for name, dim in HEAD_DIMS.items() if _is_file_of(stem, name)), None)
    if head_dim is not None and known is not None and known != head_dim:
        raise CheckpointError(
            f"{checkpoint} was trained with attention heads of {known} channels, the model has"
            f" {head_dim}: set head_dim={known} in the backbone. (All shapes fit, the results would"
            " be wrong.)"
        )


def likely_cause(report: LoadReport) -> str:
    """Why tensors are missing, as advice."""
    if not (report.matched or report.inflated):
        return "Nothing matched: this is no UniFormer checkpoint, or it needs another prefix."
    return "The checkpoint belongs to another arch, stem, layer_scale or dims than the model's."


def _cut(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    prefix = prefix.rstrip(".") + "."
    found = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
    if not found:
        raise CheckpointError(f"no tensor in the checkpoint has the prefix {prefix!r}")
    return found


def _can_inflate(source: Tensor, target: Tensor) -> bool:
    return (
        source.dim() == 4
        and target.dim() == 5
        and source.shape == target.shape[:2] + target.shape[3:]
    )


def _is_file_of(stem: str, name: str) -> bool:
    """Whether a file is a published one, maybe with OpenMMLab's date and hash behind its name."""
    return re.fullmatch(rf"{name}([-_]\d{{8}}-[0-9a-f]{{8}})?", stem) is not None
