"""A score for every class, of an image or a clip."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from uniformer_mm.compat.mmaction_multi_label_scores import has_independent_classes
from uniformer_mm.datasets.media import Clip, Image, swapped
from uniformer_mm.visualization.drawing import under_scores
from uniformer_mm.visualization.prediction import Prediction, as_array, class_name, rounded

SHOWN = 5
"""Classes in pictures and files."""

MIXED = 2
"""Samples that are mixed into one."""


class ClassScores(Prediction):
    """What is on an image, or what happens in a clip.

    Attributes:
        scores: (C,), probabilities.
        threshold: Score below which a class is not among the best ones.
    """

    default_threshold = 0.0

    scores: NDArray[np.float64]
    threshold: float

    @classmethod
    def from_samples(
        cls, source: Any, samples: Sequence[Any], meta: Mapping[str, Any], threshold: float
    ) -> "ClassScores":
        """From mmpretrain's DataSample or mmaction's ActionDataSample, with probabilities."""
        (sample,) = samples
        prediction = cls(source, meta)
        prediction.scores = as_array(sample.pred_score).astype(np.float64)
        prediction.threshold = threshold
        return prediction

    def best(self, count: int = SHOWN) -> list[tuple[str, float]]:
        """Names and scores of the best classes."""
        return [(class_name(self.meta, label), score) for label, score in self._best(count)]

    def draw(self) -> Image:
        """The image, or eight frames of the clip, under the best classes."""
        if not isinstance(self.source, Clip):
            return self.draw_on(self.source.image)
        from uniformer_mm.engine.hooks.video_pictures import (
            CAPTION_HEIGHT,
            COLUMNS,
            ROWS,
            contact_sheet,
        )

        frames = self.source.glimpses(COLUMNS * ROWS)
        return self.draw_on(contact_sheet(frames)[CAPTION_HEIGHT:])

    def draw_on(self, image: Image) -> Image:
        """An image or a frame under the best classes."""
        canvas = swapped(image)
        canvas = under_scores(canvas, self.best(), min(SHOWN, len(self.scores)))
        return swapped(canvas)

    def to_dict(self) -> dict[str, Any]:
        """The best classes."""
        classes = [
            {"label": label, "class": class_name(self.meta, label), "score": rounded(score, 4)}
            for label, score in self._best(SHOWN)
        ]
        return {**self._identity(), "classes": classes}

    def _best(self, count: int) -> list[tuple[int, float]]:
        order = np.argsort(-self.scores, kind="stable")[:count]
        scores = [(int(label), float(self.scores[label])) for label in order]
        return [(label, score) for label, score in scores if score >= self.threshold]


def under_labels(image: Image, shares: Mapping[int, float], meta: Mapping[str, Any]) -> Image:
    """An image under its ground truth: its classes, or those that it was mixed of.

    Args:
        image: RGB.
        shares: By the number of a class, from 0 to 1.
        meta: Of the dataset.
    """
    order = sorted(shares, key=lambda number: -shares[number])
    named = [(class_name(meta, number), shares[number]) for number in order]
    return under_scores(image, named[:SHOWN], min(max(len(named), MIXED), SHOWN))


def shares_of(values: Any) -> dict[int, float]:
    """Classes and their shares out of a soft or multi-label ground truth (C,)."""
    values = as_array(values)
    return {int(number): float(values[number]) for number in values.nonzero()[0]}


def probabilities(scores: Tensor, head: Any) -> Tensor:
    """Scores (C,) of a head of mmaction2's as probabilities; averages over views may be logits."""
    scores = scores.float()
    if has_independent_classes(head):
        return scores if head.average_clips == "prob" else scores.sigmoid()
    if scores.min() >= 0 and abs(float(scores.sum()) - 1) < 1e-3:
        return scores
    return scores.softmax(-1)
