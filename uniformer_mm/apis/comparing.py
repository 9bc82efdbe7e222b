"""What was measured beside what the authors published."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from uniformer_mm.checkpoints.zoo import list_models
from uniformer_mm.tasks import task_of

Row = tuple[str, float, float]
"""Name of a score, measured, published."""


def beside_published(cfg: Config, scores: Mapping[str, Any], augmented: bool = False) -> list[Row]:
    """Scores of a test that the metafiles know for the config, in their unit.

    Args:
        cfg: The config, as it comes from one of this package's files.
        scores: What the test loop has returned.
        augmented: Whether test-time augmentation was on, for which a model may have other figures.

    Returns:
        A row per score; none for a config of somebody else's.
    """
    path = Path(cfg.filename or "")
    known = [model for model in list_models() if Path(model.config).parts[-2:] == path.parts[-2:]]
    if not known:
        return []
    published, names = known[0].metrics, task_of(cfg).published_scores
    rows = []
    for name, (score, factor) in names.items():
        value = published.get(f"{name}(ms+flip)" if augmented else name)
        if value is not None and score in scores:
            rows.append((name, float(scores[score]) * factor, float(value)))
    return rows


def comparison(rows: list[Row]) -> str:
    """The rows as an aligned table with the difference."""
    lines = [f"  {'score':10}{'measured':>10}{'published':>11}{'difference':>12}"]
    lines += [
        f"  {name:10}{ours:10.2f}{theirs:11.2f}{ours - theirs:+12.2f}"
        for name, ours, theirs in rows
    ]
    return "\n".join(lines)
