"""Why a checkpoint does not fit a backbone, from the names and shapes of both."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from uniformer_mm.checkpoints.naming import BACKBONE
from uniformer_mm.models.archs import ARCHS, LIGHT_ARCHS

BLOCK = re.compile(r"blocks([1-4])\.(\d+)\.")


def differences(state: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> str:
    """The settings in which a checkpoint and a model differ; empty if in none.

    Args:
        state: Tensors of the checkpoint under the model's names, which may begin with `backbone.`.
        target: Those of the model.
    """
    theirs, ours = settings_of(state), settings_of(target)
    stages = min(len(theirs["depths"]), len(ours["depths"]))
    for settings in (theirs, ours):  # a model may be without its last stages
        settings["embed_dims"] = settings["embed_dims"][:stages]
        settings["depths"] = _with_arch(settings["depths"][:stages])
    if theirs["dims"] == 2:
        ours["dims"] = ours["std"] = None  # weights of images fit videos
    return "; ".join(
        f"{name} {theirs[name]} in the checkpoint, {ours[name]} in the model"
        for name in ours
        if theirs[name] != ours[name] and None not in (theirs[name], ours[name])
    )


def settings_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the names and shapes of tensors tell of a backbone's settings, None where nothing."""
    shapes = {name.removeprefix(BACKBONE): tensor.shape for name, tensor in state.items()}
    depths: dict[int, int] = {}
    for name in shapes:
        if block := BLOCK.match(name):
            depths[int(block[1])] = max(depths.get(int(block[1]), 0), int(block[2]) + 1)
    stages = sorted(depths)
    widths = [sum(shapes.get(f"blocks{stage}.0.norm1.weight", ())[:1]) for stage in stages]
    hidden = sum(shapes.get("blocks1.0.mlp.fc1.bias", ())[:1])
    first = shapes.get("patch_embed1.proj.weight") or shapes.get("patch_embed1.proj.0.weight")
    first = first if first and len(first) in (4, 5) else None
    second = shapes.get("patch_embed2.proj.weight", ())
    local, global_ = (f"blocks{stage}.0.gamma_1" in shapes for stage in (1, 3))
    attends = 3 in depths
    return {
        "type": ("UniFormerLight" if "cls_token" in shapes else "UniFormer") if attends else None,
        "depths": tuple(depths[stage] for stage in stages),
        "embed_dims": tuple(widths),
        "mlp_ratio": hidden / widths[0] if hidden and widths[0] else None,
        "in_channels": first[1] if first else None,
        "dims": len(first) - 2 if first else None,
        "stem": _embedding(shapes, 1),
        "downsample": _embedding(shapes, 2),
        "std": second[2] > 1 if len(second) == 5 else None,
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
    """Depths, and the arch that has them."""
    archs = {**ARCHS, **LIGHT_ARCHS}
    name = next((name for name, arch in archs.items() if arch["depths"] == depths), "")
    return f"{depths} (arch {name})" if name else str(depths)
