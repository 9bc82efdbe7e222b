"""Checkpoints are data: reading one never runs code from it."""

import json
import logging
import re
import struct
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from uniformer_mm.checkpoints.download import locate, what_is_wrong
from uniformer_mm.errors import CheckpointError, printable

WRAPPERS = ("state_dict", "model", "model_state")
"""Keys under which training code keeps the state dict, in the order they are tried."""

LONGEST_NAME = 500
"""Characters of a tensor's name."""

META = "uniformer_mm"
"""Key in the metadata of a `.safetensors` file of what is `meta` in a `.pth` file, as JSON."""


def read_checkpoint(source: str, map_location: Any = "cpu") -> Any:
    """Read a file of torch (by its weights-only reader) or safetensors, under any name.

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
        if _is_safetensors(path):
            return _read_safetensors(path, map_location)
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


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins with the length of a JSON header, as those of safetensors do."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and struct.unpack("<Q", start[:8])[0] < 2**40


def _read_safetensors(path: Path, map_location: Any) -> dict[str, Any]:
    """The tensors, with the meta if our converter wrote the file."""
    from safetensors import safe_open

    named = isinstance(map_location, str | torch.device)
    with safe_open(path, "pt", device=str(map_location) if named else "cpu") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        meta = (file.metadata() or {}).get(META)
    if meta is None:
        return tensors
    return {"state_dict": tensors, "meta": json.loads(meta, object_hook=_with_numbers_as_keys)}


def _with_numbers_as_keys(content: dict[str, Any]) -> dict[Any, Any]:
    """A dict as it was before JSON made strings of numbers, such as those of keypoints."""
    return {int(key) if key.isdecimal() else key: value for key, value in content.items()}


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
            _warn_of_overflow(tensors, source)
            return tensors
    raise CheckpointError(
        f"no tensors in {source}: expected a state dict, alone or under one of {WRAPPERS}"
    )


def _warn_of_overflow(tensors: Mapping[str, Tensor], source: str) -> None:
    spoiled = [name for name, tensor in tensors.items() if not _is_finite(tensor)]
    if spoiled:
        print_log(
            f"{printable(source)}: {len(spoiled)} of {len(tensors)} tensors hold NaN or Inf, the"
            f" first one is {spoiled[0]}. A model of them predicts nothing of use: take an earlier"
            " checkpoint",
            logger="current",
            level=logging.WARNING,
        )


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    storage = tensor.untyped_storage()
    if tensor.nbytes > storage.nbytes():  # a few numbers that are said to be any size
        tensor = torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(storage)
    tensor = tensor.float()
    # The sum is finite if all numbers are, or else overflows: then they are looked at one by one.
    return bool(torch.isfinite(tensor.sum()) or torch.isfinite(tensor).all())


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
