"""Actions of the persons in the middle of a clip."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.media import Clip, Image
from uniformer_mm.visualization.drawing import Label, draw_boxes, draw_labels
from uniformer_mm.visualization.prediction import (
    Prediction,
    as_array,
    class_colours,
    class_name,
    coco_annotation,
    rounded,
)

SHOWN = 3
"""Number of actions of a person that are drawn and written."""


class PersonActions(Prediction):
    """Boxes of persons with the scores of their actions, drawn on the frame in the middle.

    Attributes:
        boxes: (N, 4), as x1, y1, x2, y2 in pixels.
        scores: (N, actions), from 0 to 1; the first is of no action, and not shown.
        threshold: Score threshold of the actions.
    """

    default_threshold = 0.3

    source: Clip
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    threshold: float

    @classmethod
    def from_samples(
        cls, source: Any, samples: Sequence[Any], meta: Mapping[str, Any], threshold: float
    ) -> "PersonActions":
        """From mmaction2's ActionDataSample, whose boxes are in shares of the frame."""
        (sample,) = samples
        height, width = source.image.shape[:2]
        prediction = cls(source, meta)
        boxes = as_array(sample.pred_instances.bboxes) * (width, height, width, height)
        prediction.boxes = boxes.astype(np.float32)
        prediction.scores = as_array(sample.pred_instances.scores).astype(np.float32)
        prediction.threshold = threshold
        return prediction

    @classmethod
    def from_ground_truth(
        cls, source: Any, samples: Sequence[Any], meta: Mapping[str, Any]
    ) -> "PersonActions | None":
        """From mmaction2's ActionDataSample, whose boxes are in pixels."""
        (sample,) = samples
        instances = sample.get("gt_instances")
        if instances is None:
            return None
        ground_truth = cls(source, meta)
        ground_truth.is_ground_truth = True
        ground_truth.boxes = as_array(instances.bboxes).astype(np.float32)
        ground_truth.scores = as_array(instances.labels).astype(np.float32)
        ground_truth.threshold = 0.5
        return ground_truth

    def best(self, person: int) -> list[tuple[int, float]]:
        """Return numbers and scores of the top actions of a person."""
        order = 1 + np.argsort(-self.scores[person, 1:], kind="stable")[:SHOWN]
        scores = [(int(action), float(self.scores[person, action])) for action in order]
        return [(action, score) for action, score in scores if score >= self.threshold]

    def _scale(self, x: float, y: float) -> None:
        self.boxes = self.boxes * np.array([x, y, x, y], np.float32)

    def _draw(self, image: Image) -> Image:
        """Draw every box with its actions, in the color of the first."""
        palette = class_colours(self.meta, self.scores.shape[1])
        labels, colours = [], []
        for person, box in enumerate(self.boxes.tolist()):
            best = self.best(person)
            colours.append(palette[best[0][0]] if best else palette[0])
            names = [
                class_name(self.meta, action) + ("" if self.is_ground_truth else f" {score:.0%}")
                for action, score in best
            ]
            if names:
                labels.append(Label(", ".join(names), box[0], box[1], colours[-1]))
        draw_boxes(image, self.boxes, colours)
        return draw_labels(image, labels)

    def to_dict(self) -> dict[str, Any]:
        """Return the boxes with their top actions."""
        persons = [
            {
                "bbox": coco_annotation(box, 1.0)["bbox"],
                "actions": [
                    {
                        "label": action,
                        "class": class_name(self.meta, action),
                        "score": rounded(score, 4),
                    }
                    for action, score in self.best(person)
                ],
            }
            for person, box in enumerate(self.boxes)
        ]
        return {**self._identity(), "persons": persons}
