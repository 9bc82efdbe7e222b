"""Convert checkpoints between the official code and OpenMMLab 2.x."""

import hashlib
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from uniformer_mm.apis.dataset_meta import checkpoint_meta
from uniformer_mm.apis.diagnosis import building
from uniformer_mm.checkpoints.download import locate
from uniformer_mm.checkpoints.facts import describe_backbone
from uniformer_mm.checkpoints.io import META, read_file
from uniformer_mm.checkpoints.load import LoadReport, load_whole
from uniformer_mm.checkpoints.names import BACKBONE, to_official_names
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
"""Key under which the official code of each task expects the state dict."""


def build_empty_model(cfg: Config) -> nn.Module:
    """Build the model of a config on the meta device: names and shapes only.

    Raises:
        UserError: The config has an unknown option or a wrong value.
    """
    with building(), DefaultScope.overwrite_default_scope(cfg.default_scope), torch.device("meta"):
        return MODELS.build(cfg.model)


def to_openmmlab(
    cfg: Config, source: str, folder: Path, suffix: str = ".pth"
) -> tuple[Path, LoadReport]:
    """Write a checkpoint for the tools and inferencers of the config's codebase.

    It holds the tensors without optimizer state. Its meta has the classes in their order, from the
    checkpoint or else from the config's test data, and the options of the backbone that no tensor
    tells.

    Args:
        cfg: Config of the model.
        source: Any checkpoint of that model, as for `locate`.
        folder: Folder of the result. Its name is that of the config and 8 digits of its SHA-256, so
            that the same checkpoint always gives the same file.
        suffix: '.pth', or '.safetensors', which only the tools of this package read.

    Returns:
        The file, and the report on all tensors.

    Raises:
        CheckpointError: The checkpoint cannot be read, or is not of that model.
        UserError: The file cannot be written.
    """
    state, dataset_meta, backbone, report = _load(cfg, source)
    meta = {
        "dataset_meta": dataset_meta,
        **backbone,
        "source": report.path.name,
        "uniformer_mm_version": __version__,
    }
    if suffix == ".safetensors":
        tensors = {name: tensor.contiguous() for name, tensor in state.items()}
        as_json = json.dumps(meta, default=lambda array: array.tolist())
        content = save_safetensors(tensors, {"format": "pt", META: as_json})
    else:
        content = _serialize({"meta": meta, "state_dict": state})
    return _write(content, cfg, folder, suffix), report


def to_official(cfg: Config, source: str, folder: Path) -> tuple[Path, LoadReport]:
    """Write a checkpoint for the official code; arguments and errors as for `to_openmmlab`."""
    state, dataset_meta, backbone, report = _load(cfg, source)
    scope = cfg.default_scope
    if scope == "mmpose":
        state = _with_unused_norms(state)
    # MM 1.x reads names of classes in capitals.
    names = {
        key.upper(): dataset_meta[key] for key in ("classes", "palette") if key in dataset_meta
    }
    content = {
        OFFICIAL_WRAPPERS[scope]: to_official_names(state, scope),
        "meta": {**names, **backbone},
    }
    return _write(_serialize(content), cfg, folder, "_official.pth"), report


def _load(
    cfg: Config, source: str
) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any], LoadReport]:
    """Return tensors under the config's names, dataset and backbone meta, and the report."""
    path = locate(source)
    content = read_file(path)
    model = build_empty_model(cfg)
    state, report = load_whole(model, content, path)
    return state, checkpoint_meta(cfg, content, path), describe_backbone(model), report


def _with_unused_norms(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add the output norms of all stages, of which official pose estimators train the last only."""
    state = dict(state)
    for stage in range(1, 5):
        like = state[f"{BACKBONE}patch_embed{stage}.norm.weight"]
        state.setdefault(f"{BACKBONE}norm{stage}.weight", torch.ones_like(like))
        state.setdefault(f"{BACKBONE}norm{stage}.bias", torch.zeros_like(like))
    return state


def _serialize(content: dict[str, Any]) -> bytes:
    buffer = BytesIO()  # into a file, torch would write the file's name as well
    torch.save(content, buffer)
    return buffer.getvalue()


def _write(content: bytes, cfg: Config, folder: Path, suffix: str) -> Path:
    """Write a file named by its own SHA-256, unless it exists already."""
    name = Path(cfg.filename).stem if cfg.filename else "model"
    ending, dot, extension = suffix.rpartition(".")
    digest = hashlib.sha256(content).hexdigest()
    target = folder / f"{name}{ending}-{digest[:8]}{dot}{extension}"
    if not target.exists():
        write_whole(target, content)
    elif hashlib.sha256(target.read_bytes()).hexdigest() != digest:
        raise UserError(f"{target} exists with other content: choose another --out-dir")
    return target
