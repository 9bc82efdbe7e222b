"""Official checkpoints to OpenMMLab 2.x files, and back."""

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from uniformer_mm.checkpoints.head_dims import check_head_dim
from uniformer_mm.checkpoints.loading import LoadReport, match
from uniformer_mm.checkpoints.metadata import checkpoint_meta
from uniformer_mm.checkpoints.naming import BACKBONE, to_model_names, to_official_names
from uniformer_mm.checkpoints.reading import find_state_dict, read_checkpoint
from uniformer_mm.checkpoints.sources import CheckpointError, locate
from uniformer_mm.errors import UserError
from uniformer_mm.version import __version__

OFFICIAL_WRAPPERS = {
    "mmdet": "state_dict",
    "mmseg": "state_dict",
    "mmpose": "state_dict",
    "mmaction": "model_state",
    "mmpretrain": "model",
}
"""The key under which the official code of each task expects the tensors."""


def build_empty_model(cfg: Config) -> nn.Module:
    """The model of a config without memory for its tensors: names and shapes only.

    Raises:
        UserError: Something in the config has no such option or a wrong value.
    """
    from uniformer_mm.apis.launch import building

    with building(), DefaultScope.overwrite_default_scope(cfg.default_scope), torch.device("meta"):
        return MODELS.build(cfg.model)


def load_whole(model: nn.Module, content: Any, source: str) -> tuple[dict[str, Tensor], LoadReport]:
    """The tensors of a checkpoint in the names and shapes of the model that it was made of.

    Args:
        model: The model.
        content: The checkpoint as it was read.
        source: From where, for errors and the report.

    Raises:
        CheckpointError: It lacks a tensor of the model, has heads that the model has not, or its
            attention heads are of another size.
    """
    check_head_dim(source, getattr(getattr(model, "backbone", None), "head_dim", None))
    target = model.state_dict()
    state, report = match(to_model_names(find_state_dict(content, source), target), target, source)
    if heads := [name for name in report.dropped if not name.startswith(BACKBONE)]:
        raise CheckpointError(
            f"{source} belongs to another config: the model of this one has no place for"
            f" {', '.join(heads[:3])}{', ...' if len(heads) > 3 else ''}"
        )
    return state, report


def to_openmmlab(cfg: Config, source: str, folder: Path) -> tuple[Path, LoadReport]:
    """Write a slim file that the tools and inferencers of the config's codebase take.

    It holds the tensors and, for the inferencers, what they stand for: the classes that the
    checkpoint names, or else those of the config's test data.

    Args:
        cfg: Config of the model.
        source: Any checkpoint of that model.
        folder: Where the file goes; its name is that of the config and 8 digits of its SHA-256, so
            that the same checkpoint always makes the same file.

    Returns:
        The file, and what became of every tensor.

    Raises:
        CheckpointError: The checkpoint cannot be read, or is not of that model.
        UserError: The file cannot be written.
    """
    state, meta, report = _read(cfg, source)
    content = {
        "meta": {
            "dataset_meta": meta,
            "source": Path(report.source).name,
            "uniformer_mm_version": __version__,
        },
        "state_dict": state,
    }
    return _save(content, folder, _name(cfg)), report


def to_official(cfg: Config, source: str, folder: Path) -> tuple[Path, LoadReport]:
    """Write a file that the official code takes.

    Args: as for `to_openmmlab`.

    Returns:
        The file, and what became of every tensor.

    Raises:
        CheckpointError: The checkpoint cannot be read, or is not of that model.
        UserError: The file cannot be written.
    """
    state, meta, report = _read(cfg, source)
    scope = cfg.default_scope
    if scope == "mmpose":
        state = _with_unused_norms(state)
    content: dict[str, Any] = {OFFICIAL_WRAPPERS[scope]: to_official_names(state, scope)}
    if scope in ("mmdet", "mmseg"):  # where their inference looks for names
        content["meta"] = {key.upper(): meta[key] for key in ("classes", "palette") if key in meta}
    return _save(content, folder, f"{_name(cfg)}_official"), report


def _read(cfg: Config, source: str) -> tuple[dict[str, Tensor], dict[str, Any], LoadReport]:
    """Tensors in the config's names, what they stand for, and the report."""
    path = locate(source)
    content = read_checkpoint(str(path))
    state, report = load_whole(build_empty_model(cfg), content, str(path))
    return state, checkpoint_meta(cfg, content, path), report


def _with_unused_norms(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The official pose estimators have output norms on all stages, three of them never trained."""
    state = dict(state)
    for stage in range(1, 5):
        like = state[f"{BACKBONE}patch_embed{stage}.norm.weight"]
        state.setdefault(f"{BACKBONE}norm{stage}.weight", torch.ones_like(like))
        state.setdefault(f"{BACKBONE}norm{stage}.bias", torch.zeros_like(like))
    return state


def _name(cfg: Config) -> str:
    return Path(cfg.filename).stem if cfg.filename else "model"


def _save(content: dict[str, Any], folder: Path, name: str) -> Path:
    """Write a file whose name ends in digits of its own SHA-256, unless it is there already."""
    buffer = BytesIO()  # torch writes the name of a file into it
    torch.save(content, buffer)
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
    target = folder / f"{name}-{digest[:8]}.pth"
    partial = target.with_name(f".{target.name}.partial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.exists():
            if hashlib.sha256(target.read_bytes()).hexdigest() == digest:
                return target
            raise UserError(f"{target} exists and is something else: choose another --out-dir")
        try:
            partial.write_bytes(buffer.getbuffer())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write {target}: {error.strerror}; choose another --out-dir"
        ) from error
    return target
