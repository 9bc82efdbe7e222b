"""Infer the options of a backbone from the names and shapes of its tensors."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Size, Tensor

from uniformer_mm.checkpoints.names import BACKBONE
from uniformer_mm.models import ARCHS, LIGHT_ARCHS

BLOCK = re.compile(r"blocks([1-4])\.(\d+)\.")


def option_differences(state: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> str:
    """Describe the options in which a checkpoint and a model differ; empty if there are none.

    Args:
        state: Tensors of the checkpoint under the model's names, maybe with `backbone.`.
        target: Tensors of the model.
    """
    theirs, ours = infer_options(state), infer_options(target)
    stages = min(len(theirs["depths"]), len(ours["depths"]))
    for options in (theirs, ours):  # a model may lack the last stages
        options["embed_dims"] = options["embed_dims"][:stages]
        options["depths"] = _with_arch(options["depths"][:stages])
    if theirs["dims"] == 2:
        ours["dims"] = ours["std"] = None  # image weights are inflated
    return "; ".join(
        f"{name} {theirs[name]} in the checkpoint, {ours[name]} in the model"
        for name in ours
        if theirs[name] != ours[name] and None not in (theirs[name], ours[name])
    )


def infer_options(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Infer the options of a backbone from its state dict; None where nothing tells."""
    shapes = {name.removeprefix(BACKBONE): tensor.shape for name, tensor in state.items()}
    depths: dict[int, int] = {}
    for name in shapes:
        if block := BLOCK.match(name):
            depths[int(block[1])] = max(depths.get(int(block[1]), 0), int(block[2]) + 1)
    stages = sorted(depths)
    widths = [sum(shapes.get(f"blocks{stage}.0.norm1.weight", ())[:1]) for stage in stages]
    hidden = sum(shapes.get("blocks1.0.mlp.fc1.bias", ())[:1])
    stem = shapes.get("patch_embed1.proj.weight") or shapes.get("patch_embed1.proj.0.weight")
    stem = stem if stem and len(stem) in (4, 5) else None
    downsample = shapes.get("patch_embed2.proj.weight", Size())
    local, global_ = (f"blocks{stage}.0.gamma_1" in shapes for stage in (1, 3))
    attends = 3 in depths
    return {
        "type": ("UniFormerLight" if "cls_token" in shapes else "UniFormer") if attends else None,
        "depths": tuple(depths[stage] for stage in stages),
        "embed_dims": tuple(widths),
        "mlp_ratio": hidden / widths[0] if hidden and widths[0] else None,
        "in_channels": stem[1] if stem else None,
        "dims": len(stem) - 2 if stem else None,
        "stem": _embedding(shapes, 1),
        "downsample": _embedding(shapes, 2),
        "std": downsample[2] > 1 if len(downsample) == 5 else None,
        "layer_scale": ("all" if local else "global" if global_ else "none") if attends else None,
        "qkv_bias": "blocks3.0.attn.qkv.bias" in shapes if attends else None,
        "split": "blocks3.0.t_attn.qkv.weight" in shapes if attends else None,
    }


def _embedding(shapes: Mapping[str, Any], stage: int) -> str | None:
    for kind, name in (("conv", "proj.0.weight"), ("patch", "proj.weight")):
        if f"patch_embed{stage}.{name}" in shapes:
            return kind
    return None


def _with_arch(depths: tuple[int, ...]) -> str:
    """Depths, and the name of the arch that has them."""
    archs = {**ARCHS, **LIGHT_ARCHS}
    name = next((name for name, arch in archs.items() if arch["depths"] == depths), "")
    return f"{depths} (arch {name})" if name else str(depths)
