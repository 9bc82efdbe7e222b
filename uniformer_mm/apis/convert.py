"""Official checkpoints to OpenMMLab 2.x files, and back."""

import hashlib
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from uniformer_mm.apis.dataset_meta import checkpoint_meta
from uniformer_mm.checkpoints.download import locate
from uniformer_mm.checkpoints.head_dims import describe_backbone
from uniformer_mm.checkpoints.load import LoadReport, load_whole
from uniformer_mm.checkpoints.names import BACKBONE, to_official_names
from uniformer_mm.checkpoints.reading import META, read_checkpoint
from uniformer_mm.errors import UserError
from uniformer_mm.version import __version__
from uniformer_mm.writing import write_whole

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


def to_openmmlab(
    cfg: Config, source: str, folder: Path, suffix: str = ".pth"
) -> tuple[Path, LoadReport]:
    """Write a slim file that the tools and inferencers of the config's codebase take.

    It holds the tensors and what they stand for: the classes in their order, which the checkpoint
    names, or else the config's test data, and what no tensor tells of the backbone.

    Args:
        cfg: Config of the model.
        source: Any checkpoint of that model.
        folder: Where the file goes; its name is that of the config and 8 digits of its SHA-256, so
            that the same checkpoint always makes the same file.
        suffix: '.pth', or '.safetensors', which the tools of this package alone read.

    Returns:
        The file, and what became of every tensor.

    Raises:
        CheckpointError: The checkpoint cannot be read, or is not of that model.
        UserError: The file cannot be written.
    """
    state, meta, backbone, report = _read(cfg, source)
    meta = {
        "dataset_meta": meta,
        **backbone,
        "source": Path(report.source).name,
        "uniformer_mm_version": __version__,
    }
    if suffix == ".safetensors":
        from safetensors.torch import save

        tensors = {name: tensor.contiguous() for name, tensor in state.items()}
        said = json.dumps(meta, default=lambda array: array.tolist())
        content = save(tensors, {"format": "pt", META: said})
    else:
        content = _saved({"meta": meta, "state_dict": state})
    return _write(content, folder, _name(cfg), suffix), report


def to_official(cfg: Config, source: str, folder: Path) -> tuple[Path, LoadReport]:
    """Write a file that the official code takes.

    Args: as for `to_openmmlab`.

    Returns:
        The file, and what became of every tensor.

    Raises:
        CheckpointError: The checkpoint cannot be read, or is not of that model.
        UserError: The file cannot be written.
    """
    state, meta, backbone, report = _read(cfg, source)
    scope = cfg.default_scope
    if scope == "mmpose":
        state = _with_unused_norms(state)
    content: dict[str, Any] = {OFFICIAL_WRAPPERS[scope]: to_official_names(state, scope)}
    # Where the inference of MM 1.x looks for names.
    names = {key.upper(): meta[key] for key in ("classes", "palette") if key in meta}
    content["meta"] = {**names, **backbone}
    return _write(_saved(content), folder, f"{_name(cfg)}_official", ".pth"), report


def _read(
    cfg: Config, source: str
) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any], LoadReport]:
    """Tensors in the config's names, what they stand for, of what backbone, and the report."""
    path = locate(source)
    content = read_checkpoint(str(path))
    model = build_empty_model(cfg)
    state, report = load_whole(model, content, str(path))
    return state, checkpoint_meta(cfg, content, path), describe_backbone(model), report


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


def _saved(content: dict[str, Any]) -> bytes:
    buffer = BytesIO()  # torch writes the name of a file into it
    torch.save(content, buffer)
    return buffer.getvalue()


def _write(content: bytes, folder: Path, name: str, suffix: str) -> Path:
    """Write a file whose name ends in digits of its own SHA-256, unless it is there already."""
    digest = hashlib.sha256(content).hexdigest()
    target = folder / f"{name}-{digest[:8]}{suffix}"
    if not target.exists():
        write_whole(target, content)
    elif hashlib.sha256(target.read_bytes()).hexdigest() != digest:
        raise UserError(f"{target} exists and is something else: choose another --out-dir")
    return target
