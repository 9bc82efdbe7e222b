"""Measured scores next to the published ones of the same config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from uniformer_mm.checkpoints.zoo import list_models
from uniformer_mm.tasks import task_of

Row = tuple[str, float, float]
"""Name of a score, measured, published."""


def published_rows(cfg: Config, scores: Mapping[str, Any], augmented: bool = False) -> list[Row]:
    """The scores of a test that have a published value, in its unit.

    Args:
        cfg: The config, read from a file.
        scores: The result of the test loop.
        augmented: Whether test-time augmentation was on, for which a model may have other values.

    Returns:
        A row per score; none for a config that is not of this package.
    """
    path = Path(cfg.filename or "")
    known = [model for model in list_models() if Path(model.config).parts[-2:] == path.parts[-2:]]
    published = known[0].metrics if known else {}
    rows = []
    for name, (score, factor) in task_of(cfg).published_scores.items():
        value = published.get(f"{name}(ms+flip)" if augmented else name)
        if value is not None and score in scores:
            rows.append((name, float(scores[score]) * factor, float(value)))
    return rows


def comparison_table(rows: list[Row]) -> str:
    """The rows as an aligned table with the differences."""
    lines = [f"  {'score':10}{'measured':>10}{'published':>11}{'difference':>12}"]
    lines += [
        f"  {name:10}{ours:10.2f}{theirs:11.2f}{ours - theirs:+12.2f}"
        for name, ours, theirs in rows
    ]
    return "\n".join(lines)
