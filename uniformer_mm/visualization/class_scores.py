"""Scores of the classes of an image or a clip."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from uniformer_mm.compat.mmaction_multi_label_scores import has_independent_classes
from uniformer_mm.datasets.media import Clip, Image
from uniformer_mm.visualization.drawing import (
    COLUMNS,
    ROWS,
    contact_sheet,
    side_by_side,
    under_scores,
)
from uniformer_mm.visualization.prediction import Prediction, as_array, class_name, rounded

SHOWN = 5
"""Number of classes that are drawn and written."""


class ClassScores(Prediction):
    """Image or action classification.

    Attributes:
        scores: (C,), probabilities, or shares of the ground truth.
        threshold: Score threshold of the top classes.
        expected: Ground-truth classes, which are marked when they are drawn.
    """

    default_threshold = 0.0

    scores: NDArray[np.float64]
    threshold: float
    expected: frozenset[int] = frozenset()

    @classmethod
    def from_samples(
        cls, source: Any, samples: Sequence[Any], meta: Mapping[str, Any], threshold: float
    ) -> "ClassScores":
        """From mmpretrain's DataSample or mmaction2's ActionDataSample, with probabilities."""
        (sample,) = samples
        prediction = cls(source, meta)
        prediction.scores = as_array(sample.pred_score).astype(np.float64)
        prediction.threshold = threshold
        return prediction

    @classmethod
    def from_ground_truth(
        cls, source: Any, samples: Sequence[Any], meta: Mapping[str, Any]
    ) -> "ClassScores | None":
        """From `gt_score`, shares of mixed images, or `gt_label`, indices or shares."""
        (sample,) = samples
        label = sample.get("gt_score", sample.get("gt_label"))
        if label is None:
            return None
        prediction = cls(source, meta)
        prediction.is_ground_truth = True
        prediction.threshold = 1e-9
        if "gt_score" in sample or label.is_floating_point():
            prediction.scores = as_array(label).astype(np.float64)
        else:
            count = max([len(meta.get("classes") or ()), *(label + 1).tolist()])
            prediction.scores = np.bincount(as_array(label), minlength=count).astype(np.float64)
        return prediction

    def best(self, count: int = SHOWN) -> list[tuple[str, float]]:
        """Return names and scores of the top classes."""
        return [(class_name(self.meta, label), score) for label, score in self._best(count)]

    def draw(self) -> Image:
        """Draw the image, or eight frames of the clip, under the top classes."""
        if isinstance(self.source, Clip):
            return self.draw_on(contact_sheet(self.source.sample_frames(COLUMNS * ROWS)))
        return super().draw()

    def compare(self, ground_truth: Prediction | None) -> Image:
        """Draw the prediction under the names of the ground-truth classes, and mark these in it."""
        if not isinstance(ground_truth, ClassScores):
            return self.draw()
        self.expected = frozenset(label for label, _ in ground_truth._best(None))
        names = "; ".join(name for name, _ in ground_truth.best()) or "no class"
        return side_by_side([(f"ground truth: {names}", self.draw())], columns=1)

    def _draw(self, image: Image) -> Image:
        lines = [
            (class_name(self.meta, label) + " ✓" * (label in self.expected), score)
            for label, score in self._best(SHOWN)
        ]
        if self.is_ground_truth:  # one class, or two of a mixed image
            return under_scores(image, lines, max(len(lines), 2))
        return under_scores(image, lines, min(SHOWN, len(self.scores)))

    def _scale(self, x: float, y: float) -> None:
        """There are no coordinates."""

    def to_dict(self) -> dict[str, Any]:
        """Return the top classes."""
        classes = [
            {"label": label, "class": class_name(self.meta, label), "score": rounded(score, 4)}
            for label, score in self._best(SHOWN)
        ]
        return {**self._identity(), "classes": classes}

    def _best(self, count: int | None) -> list[tuple[int, float]]:
        order = np.argsort(-self.scores, kind="stable")[:count]
        scores = [(int(label), float(self.scores[label])) for label in order]
        return [(label, score) for label, score in scores if score >= self.threshold]


def set_probabilities(model: Any, samples: Sequence[Any]) -> None:
    """Replace the scores of a recognizer's data samples, which may be logits, by probabilities."""
    if head := getattr(model, "cls_head", None):
        for sample in samples:
            sample.set_pred_score(probabilities(sample.pred_score, head))


def probabilities(scores: Tensor, head: Any) -> Tensor:
    """Convert scores (C,) of a head of mmaction2; averages over views may be logits."""
    scores = scores.float()
    if has_independent_classes(head):
        return scores if head.average_clips == "prob" else scores.sigmoid()
    if scores.min() >= 0 and abs(float(scores.sum()) - 1) < 1e-3:
        return scores
    return scores.softmax(-1)
