"""Checkpoints are data: reading one never runs code from it."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uniformer_mm.checkpoints.sources import CheckpointError, locate

WRAPPERS = ("state_dict", "model", "model_state")
"""Keys under which training code keeps the state dict, in the order they are tried."""


def read_checkpoint(source: str, map_location: str = "cpu") -> Any:
    """The content of a `.pth` (torch's weights-only reader) or `.safetensors` file.

    Args:
        source: Whatever `locate` takes.
        map_location: Device to read the tensors to.

    Raises:
        CheckpointError: There is no such file, or it is not a checkpoint of plain data.
    """
    path = locate(source)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path, device=map_location)
        return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is not a checkpoint of plain tensors: it is damaged, or it holds Python"
            " objects, which are not loaded because they could run code."
            f" torch says: {str(error).splitlines()[0]}"
        ) from error
    except Exception as error:  # damaged files fail in many ways, safetensors with its own classes
        raise CheckpointError(
            f"cannot read the checkpoint {path}: {type(error).__name__}: {error}."
            f" {_diagnosis(path)}"
        ) from error


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


def _diagnosis(path: Path) -> str:
    start = path.read_bytes()[:512] if path.stat().st_size else b""
    if not start:
        return "The file is empty."
    if start.lstrip()[:1] == b"<":
        return "It is a web page: download the file itself."
    if start.startswith(b"version https://git-lfs"):
        return "It is a Git LFS pointer: fetch the file that it stands for."
    if start[:2] == b"PK" and not zipfile.is_zipfile(path):
        return "It is truncated: delete it and get it again."
    return "It is damaged, or no checkpoint: delete it and get it again."
