"""State-dict keys of other code for the tensors of our models."""

from collections.abc import Collection, Mapping

from torch import Tensor

BACKBONE = "backbone."

RENAMED = {"keypoint_head.": "head."}
"""Prefixes of mmpose 0.x, and those of mmpose 1.x."""

CLASSIFIERS = {
    "head.": ("cls_head.fc_cls.", "head.fc."),
    "aux_head.": ("head.aux_fc.",),
    "head_cls.": ("cls_head.class_token_fc.", "head.class_token_fc."),
}
"""Layers of the official classifiers, and those of mmaction2's and mmpretrain's models."""


def to_model_names(state: Mapping[str, Tensor], model_names: Collection[str]) -> dict[str, Tensor]:
    """Rename the tensors of a checkpoint to the state-dict keys of a model.

    Handles our own files, those of MM 1.x (detection, segmentation, pose), the ports in mmpose and
    mmaction2, and official files (ImageNet, token labelling, SlowFast videos), with the prefix of a
    distributed model or without.

    Args:
        state: State dict of the checkpoint.
        model_names: State-dict keys of the model: a whole one, or a backbone alone.

    Returns:
        The same tensors; for a backbone alone those of the backbone only.
    """
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    has_backbone = any(name.startswith(BACKBONE) for name in state)
    if any(name.startswith(BACKBONE) for name in model_names):
        rename = _from_mm_1 if has_backbone else _from_official
        return {rename(name, model_names): tensor for name, tensor in state.items()}
    if has_backbone:
        return {
            name.removeprefix(BACKBONE): tensor
            for name, tensor in state.items()
            if name.startswith(BACKBONE)
        }
    return state


def _from_mm_1(name: str, model_names: Collection[str]) -> str:
    for old, new in RENAMED.items():
        if name.startswith(old) and name not in model_names:
            return new + name.removeprefix(old)
    return name


def _from_official(name: str, model_names: Collection[str]) -> str:
    """Rename a tensor of an official model, which has its classifier next to the backbone."""
    for old, candidates in CLASSIFIERS.items():
        if name.startswith(old):
            renamed = (new + name.removeprefix(old) for new in candidates)
            return next((new for new in renamed if new in model_names), name)
    return BACKBONE + name


def to_official_names(state: Mapping[str, Tensor], scope: str) -> dict[str, Tensor]:
    """Rename the tensors of a whole model to the state-dict keys of the official code.

    Args:
        state: State dict of a whole model.
        scope: Codebase of the model.

    Returns:
        The same tensors; those of detectors and segmenters keep their names.
    """
    if scope in ("mmdet", "mmseg"):
        return dict(state)
    prefixes = {new: old for old, candidates in CLASSIFIERS.items() for new in candidates}
    prefixes[BACKBONE] = ""
    if scope == "mmpose":
        prefixes = {new: old for old, new in RENAMED.items()}
    names = {}
    for name in state:
        new = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        names[name] = prefixes.get(new, "") + name.removeprefix(new)
    return {names[name]: tensor for name, tensor in state.items()}
