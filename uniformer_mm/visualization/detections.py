"""Objects with boxes and maybe masks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.media import Frame, Image, swapped
from uniformer_mm.visualization.drawing import Label, paint_boxes, paint_masks, write_labels
from uniformer_mm.visualization.prediction import (
    Prediction,
    as_array,
    class_colours,
    class_name,
    rounded,
)

NO_COCO_IDS = frozenset((12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
"""Numbers up to 90 that are no category of COCO's 80."""


class Detections(Prediction):
    """Objects of an image, those of the highest score first.

    Attributes:
        boxes: (N, 4), as x1, y1, x2, y2 in pixels.
        scores: (N,), from 0 to 1.
        labels: (N,), indices of classes.
        masks: (N, H, W), or None if the model has none.
    """

    default_threshold = 0.3

    source: Frame
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: NDArray[np.bool_] | None

    @classmethod
    def from_samples(
        cls, source: Any, samples: Sequence[Any], meta: Mapping[str, Any], threshold: float
    ) -> "Detections":
        """From mmdet's DetDataSample."""
        (sample,) = samples
        instances = sample.pred_instances
        scores = as_array(instances.scores)
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] >= threshold]
        prediction = cls(source, meta)
        prediction.scores = scores[order]
        prediction.boxes = as_array(instances.bboxes)[order]
        prediction.labels = as_array(instances.labels)[order]
        has_masks = "masks" in instances
        prediction.masks = as_array(instances.masks)[order].astype(bool) if has_masks else None
        return prediction

    @property
    def names(self) -> list[str]:
        """Class of each object."""
        return [class_name(self.meta, label) for label in self.labels.tolist()]

    def draw_on(self, image: Image) -> Image:
        """Masks, boxes, names and scores; the best on top."""
        canvas = swapped(image)
        palette = class_colours(self.meta, int(self.labels.max(initial=0)) + 1)
        colours = [palette[label] for label in self.labels.tolist()][::-1]
        if self.masks is not None:
            paint_masks(canvas, self.masks[::-1], colours)
        paint_boxes(canvas, self.boxes[::-1], colours)
        texts = [f"{name} {score:.0%}" for name, score in zip(self.names, self.scores, strict=True)]
        labels = [
            Label(text, x, y, colour)
            for text, (x, y, _, _), colour in zip(
                texts[::-1], self.boxes[::-1].tolist(), colours, strict=True
            )
        ]
        return swapped(write_labels(canvas, labels))

    def to_dict(self) -> dict[str, Any]:
        """Size of the image, and annotations in COCO's format with run-length encoded masks."""
        height, width = self.source.image.shape[:2]
        ids = category_ids(self.meta, int(self.labels.max(initial=0)) + 1)
        annotations = []
        for number, label in enumerate(self.labels.tolist()):
            x1, y1, x2, y2 = self.boxes[number].astype(float)
            annotation = {
                "category_id": ids[label],
                "score": rounded(self.scores[number], 4),
                "bbox": rounded((x1, y1, x2 - x1, y2 - y1), 2),
                "area": rounded((x2 - x1) * (y2 - y1), 2),
                "iscrowd": 0,
            }
            if self.masks is not None:
                annotation["area"] = int(self.masks[number].sum())
                annotation["segmentation"] = _run_lengths(self.masks[number])
            annotations.append(annotation)
        return {**self._identity(), "height": height, "width": width, "annotations": annotations}

    @classmethod
    def categories(cls, meta: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The classes; COCO's 80 have COCO's own numbers."""
        classes = meta.get("classes") or ()
        ids = category_ids(meta, len(classes))
        return [{"id": number, "name": name} for number, name in zip(ids, classes, strict=False)]


def category_ids(meta: Mapping[str, Any], count: int) -> list[int]:
    """Numbers of at least `count` categories in COCO's format: COCO's own, or 1, 2, 3 ..."""
    classes = tuple(meta.get("classes") or ())
    if len(classes) == 80 and (classes[0], classes[-1]) == ("person", "toothbrush"):
        return [number for number in range(1, 91) if number not in NO_COCO_IDS]
    return list(range(1, max(count, len(classes)) + 1))


def _run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's compressed run-length encoding, as text."""
    from pycocotools.mask import encode

    encoded = encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}
