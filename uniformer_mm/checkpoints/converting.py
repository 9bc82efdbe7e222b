"""Official checkpoints to OpenMMLab 2.x files, and back."""

import hashlib
import os
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import Tensor, nn

from uniformer_mm.checkpoints.loading import LoadReport, likely_cause, match
from uniformer_mm.checkpoints.naming import to_model_names, to_official_names
from uniformer_mm.checkpoints.reading import find_state_dict, read_checkpoint
from uniformer_mm.checkpoints.sources import CheckpointError
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
    """The model of a config without memory for its tensors: names and shapes only."""
    init_default_scope(cfg.default_scope)
    with torch.device("meta"):
        return MODELS.build(cfg.model)


def load_whole(model: nn.Module, source: str) -> tuple[dict[str, Tensor], LoadReport]:
    """The tensors of a checkpoint in the names and shapes of a whole model.

    Raises:
        CheckpointError: It cannot be read, or lacks a tensor of the model.
    """
    target = model.state_dict()
    state = to_model_names(find_state_dict(read_checkpoint(source)), target)
    state, report = match(state, target, source)
    if report.missing or report.misshapen:
        raise CheckpointError(f"{report}\n{likely_cause(report)}")
    return state, report


def to_openmmlab(cfg: Config, source: str, folder: Path) -> tuple[Path, LoadReport]:
    """Write a slim file that the tools and inferencers of the config's codebase take.

    It holds the tensors and, for the inferencers, the classes of the config's test data.

    Args:
        cfg: Config of the model.
        source: Any checkpoint of that model.
        folder: Where the file goes; its name is that of the config and 8 digits of its SHA-256.

    Returns:
        The file, and what became of every tensor.

    Raises:
        CheckpointError: The checkpoint cannot be read, or lacks a tensor of the model.
    """
    state, report = load_whole(build_empty_model(cfg), source)
    meta = {
        "dataset_meta": dataset_meta(cfg),
        "uniformer_mm_version": __version__,
        "source": str(source),
    }
    name = Path(cfg.filename).stem if cfg.filename else "model"
    return _save({"state_dict": state, "meta": meta}, folder, name), report


def to_official(cfg: Config, source: str, folder: Path) -> tuple[Path, LoadReport]:
    """Write a file that the official code takes.

    Args: as for `to_openmmlab`.

    Returns:
        The file, and what became of every tensor.

    Raises:
        CheckpointError: The checkpoint cannot be read, or lacks a tensor of the model.
    """
    state, report = load_whole(build_empty_model(cfg), source)
    wrapper = OFFICIAL_WRAPPERS[cfg.default_scope]
    content: dict[str, Any] = {wrapper: to_official_names(state, cfg.default_scope)}
    if wrapper == "state_dict":
        content["meta"] = {}
    name = f"{Path(cfg.filename).stem if cfg.filename else 'model'}_official"
    return _save(content, folder, name), report


def dataset_meta(cfg: Config) -> dict[str, Any]:
    """Classes, colours and keypoints of a config's test data, as plain data; no file is read."""
    dataset = cfg.test_dataloader.dataset
    while "dataset" in dataset:
        dataset = dataset.dataset
    built = DATASETS.build({**dataset, "lazy_init": True, "pipeline": []})
    return dict(built.metainfo)


def _save(content: dict[str, Any], folder: Path, name: str) -> Path:
    """Write a file whose name ends in digits of its own SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{name}.{os.getpid()}.partial"
    try:
        torch.save(content, partial)
        digest = hashlib.sha256(partial.read_bytes()).hexdigest()
        target = folder / f"{name}-{digest[:8]}.pth"
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target
