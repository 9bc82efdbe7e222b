"""What no tensor tells: the size of attention heads and the order of classes.

File names never decide. The facts come from the checkpoint's meta, or from its SHA-256 if it is a
published file.
"""

import functools
import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from mmengine.logging import print_log

from uniformer_mm.checkpoints.zoo import list_models, published_file
from uniformer_mm.errors import CheckpointError, printable
from uniformer_mm.models.uniformer import UniFormer

ENTRY = "uniformer"
"""Key in a checkpoint's meta under which our trainings and converter describe the backbone."""

HASH_IN_NAME = re.compile(
    r"-(?!20\d{6}[_.])([0-9a-f]{8,64})(?:_\d{8})?\.(?:pth|pt|bin|safetensors)$"
)
"""First digits of the SHA-256 in the name of OpenMMLab's files, maybe followed by a date; a date
alone is not a hash."""


@dataclass(frozen=True)
class PublishedFile:
    """Facts about a published file.

    Attributes:
        head_dim: Channels per attention head.
        alphabetical: Whether classes are in alphabetical order instead of the authors' order.
    """

    head_dim: int = 64
    alphabetical: bool = False


OTHER_FACTS = {
    "53bc5518": PublishedFile(head_dim=32),  # S+, ImageNet
    "f53dffcf": PublishedFile(head_dim=28),  # XXS, ImageNet
    "af23d349": PublishedFile(head_dim=28),  # XXS, Kinetics-400
    # mmaction2's conversions for Kinetics-400: S 16x4, B 16x4, B 32x4.
    "c630a037": PublishedFile(alphabetical=True),
    "157c2e66": PublishedFile(alphabetical=True),
    "b776322c": PublishedFile(alphabetical=True),
    # mmaction2's conversion for ImageNet: S (that of B is the authors' file).
    "fe0a7ae0": PublishedFile(),
}
"""Files that differ from the defaults or are not in the zoo, by the first digits of their
SHA-256."""


def known_hash(url: str) -> str:
    """Published SHA-256 of a URL's file, or its first digits; empty if there is none."""
    model, in_name = published_file(url), HASH_IN_NAME.search(urlparse(url).path)
    return (model and model.weights_sha256) or (in_name[1] if in_name else "")


def file_hash(path: Path) -> str:
    """SHA-256 of a file, cached for as long as its size and time stay the same."""
    status = path.stat()
    return _hash_at(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _hash_at(path: Path, size: int, changed: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def published_facts(path: Path) -> PublishedFile | None:
    """Facts about a file with a published SHA-256; None for any other file."""
    try:
        digest = file_hash(path)
    except OSError:
        return None
    return next((facts for known, facts in known_files().items() if digest.startswith(known)), None)


@functools.cache
def known_files() -> dict[str, PublishedFile]:
    """Facts about all files with a published SHA-256, by it or its first digits."""
    facts = dict(OTHER_FACTS)  # first, so that they are found first
    for model in list_models():
        if model.weights and (known := known_hash(model.weights)):
            facts.setdefault(known, PublishedFile())
    return facts


def describe_backbone(model: Any) -> dict[str, Any]:
    """Meta of a checkpoint about the backbone, as plain data; empty if it is not a UniFormer."""
    backbone = getattr(model, "backbone", model)
    if not isinstance(backbone, UniFormer):
        return {}
    stages = [getattr(backbone, f"blocks{stage}", ()) for stage in range(1, 5)]
    description = {
        "type": type(backbone).__name__,
        "depths": [len(blocks) for blocks in stages],
        "embed_dims": list(backbone.embed_dims),
        "head_dim": backbone.head_dim,
    }
    return {ENTRY: description}


def check_head_dim(content: Any, path: Path, head_dim: int | None) -> None:
    """Compare the size of attention heads of a checkpoint and a model.

    Args:
        content: Content of the checkpoint.
        path: Its file, for its SHA-256 and for errors.
        head_dim: Channels per head of the model; None if it has no such option.

    Raises:
        CheckpointError: They differ: all shapes would match, and the outputs be wrong.
    """
    if head_dim is None:
        return
    known = _head_dim_in_meta(content, path)
    if known is None and (facts := published_facts(path)):
        known = facts.head_dim
    if known is None:
        print_log(
            f"{printable(str(path))} does not state its head_dim (channels per attention head) and"
            f" is not a published file with a known SHA-256: the model's {head_dim} are assumed."
            " Published models have 64; S+ and token labelling without dim64 32; XS 32; XXS 28",
            logger="current",
            level=logging.WARNING,
        )
    elif known != head_dim:
        raise CheckpointError(
            f"{path} was trained with attention heads of {known} channels, the model has"
            f" {head_dim}: set head_dim={known} in the backbone. (All shapes match, but the outputs"
            " would be wrong.)"
        )


def _head_dim_in_meta(content: Any, path: Path) -> int | None:
    meta = content.get("meta") if isinstance(content, Mapping) else None
    entry = meta.get(ENTRY) if isinstance(meta, Mapping) else None
    if entry is None:
        return None
    head_dim = entry.get("head_dim") if isinstance(entry, Mapping) else entry
    if type(head_dim) is not int or head_dim < 1:
        raise CheckpointError(
            f"{path}: meta.{ENTRY}.head_dim must be a positive integer, got"
            f" {printable(repr(head_dim))}"
        )
    return head_dim
