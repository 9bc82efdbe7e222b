"""The names that other code gives to the tensors of our models."""

from collections.abc import Collection, Mapping

from torch import Tensor

BACKBONE = "backbone."

RENAMED = {"keypoint_head.": "head."}
"""Prefixes of mmpose 0.x, and what they are in mmpose 1.x."""

CLASSIFIERS = {
    "head.": ("cls_head.fc_cls.", "head.fc."),
    "aux_head.": ("head.aux_fc.",),
    "head_cls.": ("cls_head.class_token_fc.", "head.class_token_fc."),
}
"""Layers of the official classifiers, and what they are in mmaction2's and mmpretrain's models."""


def to_model_names(state: Mapping[str, Tensor], model_names: Collection[str]) -> dict[str, Tensor]:
    """A checkpoint's tensors under the names that a model has for them.

    Known are our own files, those of MM 1.x (detection, segmentation, pose), the ports in mmpose
    and mmaction2, and bare official ones (ImageNet, token labelling, SlowFast videos), with the
    prefix of a distributed model or without.

    Args:
        state: Names and tensors of the checkpoint.
        model_names: Those of the model: a whole one, or a backbone alone.

    Returns:
        The same tensors; a backbone alone gets those of the backbone only.
    """
    names = {name: name.removeprefix("module.") for name in state}
    whole_file = any(name.startswith(BACKBONE) for name in names.values())
    whole_model = any(name.startswith(BACKBONE) for name in model_names)
    if not whole_model and whole_file:
        return {
            name.removeprefix(BACKBONE): state[original]
            for original, name in names.items()
            if name.startswith(BACKBONE)
        }
    if whole_model:
        rename = _renamed if whole_file else _placed
        names = {original: rename(name, model_names) for original, name in names.items()}
    return {name: state[original] for original, name in names.items()}


def _renamed(name: str, model_names: Collection[str]) -> str:
    """A name of a whole model of MM 1.x."""
    for old, new in RENAMED.items():
        if name.startswith(old) and name not in model_names:
            return new + name.removeprefix(old)
    return name


def _placed(name: str, model_names: Collection[str]) -> str:
    """A name of a bare official model, where a backbone has its classifier beside it."""
    for old, candidates in CLASSIFIERS.items():
        if name.startswith(old):
            for new in candidates:
                if new + name.removeprefix(old) in model_names:
                    return new + name.removeprefix(old)
            return name
    return BACKBONE + name


def to_official_names(state: Mapping[str, Tensor], scope: str) -> dict[str, Tensor]:
    """The tensors of a whole model under the names of the official code.

    Args:
        state: Names and tensors of a whole model.
        scope: Codebase of the model.

    Returns:
        The same tensors: those of detectors and segmenters keep their names.
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
