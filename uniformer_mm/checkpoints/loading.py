"""Pretrained weights for a backbone: read safely, matched by name, and never silently nothing."""

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import barrier, get_rank
from mmengine.logging import print_log
from torch import Tensor, nn

from uniformer_mm.errors import UserError

WRAPPERS = ("state_dict", "model", "model_state")
"""Keys under which training code keeps the state dict, in the order they are tried."""

PREFIXES = ("module.", "backbone.")
"""What wrappers and detectors put in front of the names of a backbone's tensors."""

UNUSED = re.compile(r"(norm|head|aux_head|cls_head|(patch_embed|blocks|norm)[1-4])\.")
"""Final BatchNorm and heads of classifiers, and stages or outputs that this model is without."""

OUTPUT_NORM = re.compile(r"norm[1-4]\.")
"""LayerNorms at the outputs, which a classification checkpoint cannot have."""


class CheckpointError(UserError):
    """A checkpoint cannot be read, or does not belong to the model."""


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
    model: nn.Module, checkpoint: str, prefix: str | None = None, map_location: str = "cpu"
) -> LoadReport:
    """Load a backbone's weights from a classification, detection or our own checkpoint.

    Tensors of a video model that the checkpoint has for images are inflated: repeated over time
    and divided by the number of frames, so that a still clip gives the image's result
    (arXiv 2201.04676, Section 4.1).

    Args:
        model: The backbone.
        checkpoint: Path or URL of a file that `torch.save` wrote.
        prefix: Take only tensors whose names begin with this, and cut it off. By default the
            known prefixes are found.
        map_location: Device to read the tensors to.

    Returns:
        What was loaded; it is logged as well.

    Raises:
        CheckpointError: The file cannot be read, nothing in it matches, or a tensor of the
            backbone is missing or has another shape.
    """
    state = _strip_prefixes(find_state_dict(read_checkpoint(checkpoint, map_location)), prefix)
    report = LoadReport(str(checkpoint))
    target = model.state_dict()
    classification = not any(OUTPUT_NORM.match(name) for name in state)
    fitting = {}
    for name, tensor in target.items():
        if name not in state:
            optional = name.endswith("num_batches_tracked") or (
                classification and OUTPUT_NORM.match(name)
            )
            (report.kept_at_init if optional else report.missing).append(name)
        elif state[name].shape == tensor.shape:
            fitting[name] = state[name]
            report.matched.append(name)
        elif _can_inflate(state[name], tensor):
            fitting[name] = inflate(state[name], tensor.shape[2])
            report.inflated.append(name)
        else:
            shapes = f"{tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
            report.misshapen.append(f"{name} {shapes}")
    for name in state.keys() - target.keys():
        part_of_built_stage = any(other.startswith(name.split(".")[0] + ".") for other in target)
        on_purpose = UNUSED.match(name) and not part_of_built_stage
        (report.dropped if on_purpose else report.unexpected).append(name)
    report.dropped.sort()
    report.unexpected.sort()
    if report.missing or report.misshapen:
        raise CheckpointError(f"{report}\n{_likely_cause(report)}")
    model.load_state_dict(fitting, strict=False)
    print_log(str(report), logger="current")
    return report


def read_checkpoint(checkpoint: str, map_location: str = "cpu") -> Any:
    """Read a file or URL without executing anything in it (torch's weights-only reader).

    Raises:
        CheckpointError: No such file, no network, or not a checkpoint torch accepts as data.
    """
    try:
        if str(checkpoint).startswith(("http://", "https://")):
            return _read_url(checkpoint, map_location)
        path = Path(checkpoint).expanduser()
        return torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"no checkpoint at {checkpoint}") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{checkpoint} is not a checkpoint of plain tensors: it is damaged, or it holds Python"
            " objects, which are not loaded because they could run code."
            f" torch says: {str(error).splitlines()[0]}"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(
            f"cannot read the checkpoint {checkpoint}: {error}."
            " Check the path or the network; a file from an interrupted download has to be"
            " deleted and fetched again. To train from random weights, set init_cfg to None."
        ) from error


def _read_url(url: str, map_location: str) -> Any:
    """Read a URL through torch's cache, which the first process of a distributed run fills."""
    if get_rank() > 0:
        barrier()
    content = torch.hub.load_state_dict_from_url(url, map_location=map_location, weights_only=True)
    if get_rank() == 0:
        barrier()
    return content


def find_state_dict(content: Any) -> Mapping[str, Tensor]:
    """The state dict in whatever wrapper training code put around it.

    Raises:
        CheckpointError: There is none.
    """
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if isinstance(content, Mapping):
        tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)}
        if tensors:
            return tensors
    raise CheckpointError(
        f"no tensors in the checkpoint: expected a state dict, alone or under one of {WRAPPERS}"
    )


def inflate(weight: Tensor, frames: int) -> Tensor:
    """Image convolution (O, I, H, W) to a video convolution (O, I, T, H, W) of the same mean."""
    return weight.unsqueeze(2).repeat(1, 1, frames, 1, 1) / frames


def _strip_prefixes(state: Mapping[str, Tensor], prefix: str | None) -> dict[str, Tensor]:
    if prefix is not None:
        prefix = prefix.rstrip(".") + "."
        found = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
        if not found:
            raise CheckpointError(f"no tensor in the checkpoint has the prefix {prefix!r}")
        return found
    for known in PREFIXES:
        if any(name.startswith(known) for name in state):
            # A detector's file has a neck and heads beside the backbone: they are not ours.
            state = {k[len(known) :]: v for k, v in state.items() if k.startswith(known)}
    return dict(state)


def _can_inflate(source: Tensor, target: Tensor) -> bool:
    return (
        source.dim() == 4
        and target.dim() == 5
        and source.shape == target.shape[:2] + target.shape[3:]
    )


def _likely_cause(report: LoadReport) -> str:
    if not (report.matched or report.inflated):
        return "Nothing matched: this is no UniFormer checkpoint, or it needs another prefix."
    return "The checkpoint belongs to another arch, stem, layer_scale or dims than the model's."
