"""Checkpoints are data: reading one never runs code from it."""

import re
from argparse import Namespace
from collections.abc import Mapping
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from uniformer_mm.checkpoints.sources import CheckpointError, locate, what_is_wrong
from uniformer_mm.errors import printable

WRAPPERS = ("state_dict", "model", "model_state")
"""Keys under which training code keeps the state dict, in the order they are tried."""

LONGEST_NAME = 500
"""Letters of a tensor's name."""


def read_checkpoint(source: str, map_location: Any = "cpu") -> Any:
    """The content of a `.pth` (torch's weights-only reader) or `.safetensors` file.

    Args:
        source: Whatever `locate` takes.
        map_location: Device to read the tensors to, or whatever else `torch.load` takes.

    Raises:
        CheckpointError: There is no such file, or it is not a checkpoint of plain data.
    """
    path = locate(source)
    try:
        if wrong := what_is_wrong(path):
            raise CheckpointError(f"cannot read the checkpoint {path}: {wrong}")
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            named = isinstance(map_location, str | torch.device)
            return load_file(path, device=str(map_location) if named else "cpu")
        # Training code of the authors, and timm's, keeps its command line beside the weights.
        with torch.serialization.safe_globals([Namespace]):
            return torch.load(path, map_location=map_location, weights_only=True)
    except CheckpointError:
        raise
    except UnpicklingError as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        culprit = (
            f"asks for {printable(asked[1])}" if asked else "is damaged, or asks for Python objects"
        )
        raise CheckpointError(
            f"{path} is not loaded: it {culprit}. Only plain data is read, because anything else"
            " could run code. If you trust whoever made it, save its tensors anew with the code"
            " that it belongs to"
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"cannot read the checkpoint {path}: {error.strerror or error}"
        ) from error
    except Exception as error:  # damaged files fail in many ways, safetensors with its own classes
        reason = printable(str(error).split("\n", 1)[0])
        raise CheckpointError(
            f"cannot read the checkpoint {path}: it is damaged, or none"
            f" ({type(error).__name__}: {reason}), get it again"
        ) from error


def find_state_dict(content: Any, source: str = "the checkpoint") -> Mapping[str, Tensor]:
    """The state dict in whatever wrapper training code put around it.

    Args:
        content: Of a checkpoint.
        source: From where it is, for the error.

    Raises:
        CheckpointError: There is none, a tensor in it is not an array of real numbers, or its name
            is none that could be shown.
    """
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if isinstance(content, Mapping):
        tensors = {
            name: value
            for name, value in content.items()
            if isinstance(name, str) and isinstance(value, Tensor)
        }
        for name, tensor in tensors.items():
            if not name.isprintable() or len(name) > LONGEST_NAME:
                raise CheckpointError(f"{source} is not loaded: {name[:60]!r} names no tensor")
            if kind := _unfit_kind(tensor):
                raise CheckpointError(
                    f"{source} is not loaded: {name} is a {kind} tensor, no array of real numbers"
                )
        if tensors:
            return tensors
    raise CheckpointError(
        f"no tensors in {source}: expected a state dict, alone or under one of {WRAPPERS}"
    )


def _unfit_kind(tensor: Tensor) -> str:
    """What kind of tensor cannot be copied into a model, or not without a loss; else empty."""
    kinds = {
        "nested": tensor.is_nested,
        "meta": tensor.is_meta,
        "quantized": tensor.is_quantized,
        "sparse": tensor.layout != torch.strided,
        "complex": tensor.is_complex(),
    }
    return next((kind for kind, applies in kinds.items() if applies), "")
