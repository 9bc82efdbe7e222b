"""Channels of an attention head, which no shape in a checkpoint tells."""

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log

from uniformer_mm.checkpoints.download import locate
from uniformer_mm.checkpoints.published import published_facts
from uniformer_mm.errors import CheckpointError, printable
from uniformer_mm.models.uniformer import UniFormer

ENTRY = "uniformer"
"""Key in a checkpoint's meta of what our converter and trainings write about the backbone."""


def describe_backbone(model: Any) -> dict[str, Any]:
    """What a checkpoint of a model says about its backbone, as plain data; empty if not ours."""
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


def check_head_dim(content: Any, source: str, head_dim: int | None) -> None:
    """Compare the size of an attention head with that of the model that a checkpoint is of.

    The checkpoint's meta tells it, or for a published file its hash; where neither does, a warning
    says what is assumed.

    Args:
        content: The checkpoint as it was read.
        source: From where, as `locate` takes it, for the hash and for the error.
        head_dim: Of the model; None if it has no such thing.

    Raises:
        CheckpointError: They differ: shapes would fit and results be wrong.
    """
    if head_dim is None:
        return
    known = _written_head_dim(content, source)
    if known is None and (facts := _facts_of(source)):
        known = facts.head_dim
    if known is None:
        print_log(
            f"{printable(source)} does not say how many channels an attention head has (head_dim)"
            f" and is not a published file with a known hash: the model's {head_dim} are assumed."
            " Published models have 64; S+ and token labelling without dim64 32; XS 32; XXS 28",
            logger="current",
            level=logging.WARNING,
        )
    elif known != head_dim:
        raise CheckpointError(
            f"{source} was trained with attention heads of {known} channels, the model has"
            f" {head_dim}: set head_dim={known} in the backbone. (All shapes fit, the results would"
            " be wrong.)"
        )


def _written_head_dim(content: Any, source: str) -> int | None:
    meta = content.get("meta") if isinstance(content, Mapping) else None
    entry = meta.get(ENTRY) if isinstance(meta, Mapping) else None
    if entry is None:
        return None
    head_dim = entry.get("head_dim") if isinstance(entry, Mapping) else entry
    if type(head_dim) is not int or head_dim < 1:
        raise CheckpointError(
            f"{source}: meta.{ENTRY}.head_dim must be a positive integer, got"
            f" {printable(repr(head_dim))}"
        )
    return head_dim


def _facts_of(source: str) -> Any:
    try:
        return published_facts(locate(source))
    except CheckpointError:  # mmengine reads from more places than we do
        return None
