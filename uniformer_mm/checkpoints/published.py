"""What is known of published files that they do not say themselves, by their hashes."""

import functools
from dataclasses import dataclass
from pathlib import Path

from uniformer_mm.checkpoints.download import file_hash, known_hash
from uniformer_mm.checkpoints.zoo import list_models


@dataclass(frozen=True)
class PublishedFile:
    """Facts about a published file.

    Attributes:
        head_dim: Channels of an attention head.
        alphabetical: Whether its classes are in alphabetical order, not in that of the authors'
            lists.
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
"""By the first digits of their SHA-256: files of which not all is as in most files of the zoo, and
files that are not in the zoo."""


def published_facts(path: Path) -> PublishedFile | None:
    """What is known of a file; None if it is not one that somebody has published with a hash."""
    try:
        digest = file_hash(path)
    except OSError:
        return None
    return next((facts for known, facts in known_files().items() if digest.startswith(known)), None)


@functools.cache
def known_files() -> dict[str, PublishedFile]:
    """Facts about every file with a published hash, by its SHA-256 or the first digits of it."""
    facts = dict(OTHER_FACTS)  # first, so that they are found first
    for model in list_models():
        if model.weights and (known := known_hash(model.weights)):
            facts.setdefault(known, PublishedFile())
    return facts
