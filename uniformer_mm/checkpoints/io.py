"""Read checkpoint files as data: no code in a file is executed."""

import json
import logging
import re
import struct
import zipfile
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.logging import print_log
from safetensors import SafetensorError, safe_open
from torch import Tensor

from uniformer_mm.errors import CheckpointError, printable

WRAPPERS = ("state_dict", "model", "model_state")
"""Keys under which training code stores the state dict, in the order they are tried."""

LONGEST_NAME = 500
"""Characters of a tensor's name."""

META = "uniformer_mm"
"""Key in the metadata of a `.safetensors` file for the `meta` of a `.pth` file, as JSON."""

WEB_PAGE = re.compile(rb"\s*<(!|html|head|body|\?xml)", re.IGNORECASE)


def read_file(path: Path, map_location: Any = "cpu") -> Any:
    """Read a torch (weights-only) or safetensors file; the content decides, not the suffix.

    Args:
        path: File of a checkpoint.
        map_location: As for `torch.load`.

    Raises:
        CheckpointError: The file cannot be read, is corrupted, or holds more than plain data.
    """
    try:
        if fault := diagnose(path):
            raise CheckpointError(f"cannot read the checkpoint {path}: {fault}")
        if _is_safetensors(path):
            return _read_safetensors(path, map_location)
        # Official and timm's training code stores its command line with the weights.
        with torch.serialization.safe_globals([Namespace]):
            return torch.load(path, map_location=map_location, weights_only=True)
    except CheckpointError:
        raise
    except UnpicklingError as error:
        requested = re.search(r"GLOBAL (\S+)", str(error))
        reason = (
            f"asks for {printable(requested[1])}"
            if requested
            else "is corrupted, or asks for Python objects"
        )
        raise CheckpointError(
            f"{path} is not loaded: it {reason}. Only tensors and plain data are read, because"
            " anything else could run code. If you trust its source, save its state dict again with"
            " the code it belongs to"
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"cannot read the checkpoint {path}: {error.strerror or error}"
        ) from error
    except Exception as error:  # corrupted files raise many types, safetensors its own
        reason = printable(str(error).split("\n", 1)[0])
        raise CheckpointError(
            f"cannot read the checkpoint {path}: it is corrupted or not a checkpoint"
            f" ({type(error).__name__}: {reason}). Delete it and download it again"
        ) from error


def diagnose(path: Path) -> str:
    """Describe why a file is not a checkpoint; empty if no fault is found without loading it.

    torch does not verify the checksums it writes: weights with a flipped bit would be loaded.
    """
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        return "it is empty"
    if WEB_PAGE.match(start):
        return "it is a web page: check that the URL is that of the file, and if it needs a login"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer: download the file it stands for"
    if start.startswith(b"\x1f\x8b"):
        return "it is compressed with gzip: unpack it"
    if _is_safetensors(path):
        try:
            with safe_open(path, "pt"):  # compares its header with the size of the file
                pass
        except SafetensorError as error:
            return f"it is truncated or corrupted ({error}), download it again"
    return zip_fault(path) if start.startswith(b"PK") else ""


def zip_fault(path: Path) -> str:
    """Describe what is wrong with a zip archive of torch; empty if all checksums are right."""
    try:
        with zipfile.ZipFile(path) as file:
            # torch compresses nothing: a small compressed entry could be of any size in memory.
            if sum(entry.file_size for entry in file.infolist()) > path.stat().st_size:
                return "its entries are larger than the file"
            corrupted = file.testzip()
    except OSError:
        raise
    except Exception as error:  # corrupted archives raise many types
        if not zipfile.is_zipfile(path):
            return "it is truncated, download it again"
        return f"it is corrupted ({type(error).__name__}: {error}), download it again"
    return f"it is corrupted in {corrupted}, download it again" if corrupted else ""


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins with the length of a JSON header and a brace."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and struct.unpack("<Q", start[:8])[0] < 2**40


def _read_safetensors(path: Path, map_location: Any) -> dict[str, Any]:
    """Read the tensors, and the meta if the file was written by our converter."""
    device = str(map_location) if isinstance(map_location, str | torch.device) else "cpu"
    with safe_open(path, "pt", device=device) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        meta = (file.metadata() or {}).get(META)
    if meta is None:
        return tensors
    return {"state_dict": tensors, "meta": json.loads(meta, object_hook=_with_integer_keys)}


def _with_integer_keys(content: dict[str, Any]) -> dict[Any, Any]:
    """Restore the integer keys that JSON turned into strings, such as those of keypoints."""
    return {int(key) if key.isdecimal() else key: value for key, value in content.items()}


def find_state_dict(content: Any, path: Path) -> Mapping[str, Tensor]:
    """Find the state dict in the content of a checkpoint.

    Args:
        content: Content of a checkpoint.
        path: Its file, for errors.

    Raises:
        CheckpointError: There are no tensors, a tensor is not a dense array of real numbers, or a
            name cannot be printed.
    """
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    entries = content.items() if isinstance(content, Mapping) else ()
    state = {k: v for k, v in entries if isinstance(k, str) and isinstance(v, Tensor)}
    if not state:
        raise CheckpointError(
            f"no tensors in {path}: expected a state dict, alone or under one of {WRAPPERS}"
        )
    for name, tensor in state.items():
        if not name.isprintable() or len(name) > LONGEST_NAME:
            raise CheckpointError(f"{path} is not loaded: {name[:60]!r} is not a tensor name")
        if kind := _unsupported_kind(tensor):
            raise CheckpointError(
                f"{path} is not loaded: {name} is a {kind} tensor, not a dense array of real"
                " numbers"
            )
    not_finite = [name for name, tensor in state.items() if not _is_finite(tensor)]
    if not_finite:
        print_log(
            f"{printable(str(path))}: {len(not_finite)} of {len(state)} tensors hold NaN or Inf,"
            f" the first one is {not_finite[0]}. The model's predictions are useless: take an"
            " earlier checkpoint",
            logger="current",
            level=logging.WARNING,
        )
    return state


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    storage = tensor.untyped_storage()
    if tensor.nbytes > storage.nbytes():  # an expanded view that claims to be of any size
        tensor = torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(storage)
    tensor = tensor.float()
    # The sum of finite numbers may overflow: only then look at them one by one.
    return bool(torch.isfinite(tensor.sum()) or torch.isfinite(tensor).all())


def _unsupported_kind(tensor: Tensor) -> str:
    """Name the kind of a tensor that cannot be copied into a model; empty if it can."""
    kinds = {
        "nested": tensor.is_nested,
        "meta": tensor.is_meta,
        "quantized": tensor.is_quantized,
        "sparse": tensor.layout != torch.strided,
        "complex": tensor.is_complex(),
    }
    return next((kind for kind, applies in kinds.items() if applies), "")
