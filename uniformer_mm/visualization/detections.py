"""Object detections with boxes, and masks if the model has them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.media import Frame, Image
from uniformer_mm.datasets.overrides import distinct_colours
from uniformer_mm.visualization.drawing import Colour, Label, draw_boxes, draw_labels, draw_masks
from uniformer_mm.visualization.prediction import (
    Prediction,
    as_array,
    as_colours,
    class_colours,
    class_name,
    coco_annotation,
)

MATCHING_IOU = 0.5
"""Intersection over union from which an object has the colour of one of the ground truth."""

NO_COCO_IDS = frozenset((12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
"""Numbers up to 90 that are not among the ids of COCO's 80 categories."""


class Detections(Prediction):
    """Objects of an image, by descending score.

    Attributes:
        boxes: (N, 4), as x1, y1, x2, y2 in pixels.
        scores: (N,), from 0 to 1.
        labels: (N,), indices of classes.
        masks: (N, H, W), or None if the model has none.
        colours: RGB colour of each object. None stands for those of the classes, as in a video,
            whose frames do not tell which object is which.
    """

    default_threshold = 0.3
    opacity = 0.45

    source: Frame
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: NDArray[np.bool_] | None
    colours: list[Colour] | None = None

    @classmethod
    def from_samples(
        cls, source: Any, samples: Sequence[Any], meta: Mapping[str, Any], threshold: float
    ) -> "Detections":
        """From mmdet's DetDataSample."""
        (sample,) = samples
        instances = sample.pred_instances
        scores = as_array(instances.scores)
        order = np.argsort(-scores, kind="stable")
        prediction = cls(source, meta)
        prediction.threshold = threshold
        return prediction._fill(instances, scores, order[scores[order] >= threshold])

    @classmethod
    def from_ground_truth(
        cls, source: Any, samples: Sequence[Any], meta: Mapping[str, Any]
    ) -> "Detections | None":
        """From mmdet's DetDataSample; crowds are left out."""
        (sample,) = samples
        instances = sample.get("gt_instances")
        if instances is None or "labels" not in instances:
            return None
        ground_truth = cls(source, meta)
        ground_truth.is_ground_truth = True
        areas = np.prod(as_array(instances.bboxes)[:, 2:] - as_array(instances.bboxes)[:, :2], 1)
        scores = np.ones(len(instances), np.float32)
        return ground_truth._fill(instances, scores, np.argsort(areas, kind="stable"))

    def _fill(
        self, instances: Any, scores: NDArray[np.float32], chosen: NDArray[np.integer]
    ) -> "Detections":
        self.scores = scores[chosen]
        self.boxes = as_array(instances.bboxes)[chosen]
        self.labels = as_array(instances.labels)[chosen]
        self.masks = None
        if "masks" in instances:
            masks = instances.masks
            masks = masks.to_ndarray() if hasattr(masks, "to_ndarray") else as_array(masks)
            self.masks = masks[chosen].astype(bool)
        return self

    @property
    def names(self) -> list[str]:
        """Class of each object."""
        return [class_name(self.meta, label) for label in self.labels.tolist()]

    def draw(self) -> Image:
        """Draw on the source, each object in a colour of its own."""
        if self.colours is None:
            self.colours = as_colours(distinct_colours(len(self.boxes)))
        return super().draw()

    def compare(self, ground_truth: Prediction | None) -> Image:
        """Draw the prediction next to the ground truth, found objects in the same colour."""
        if isinstance(ground_truth, Detections):
            known = len(ground_truth.boxes)
            palette = as_colours(distinct_colours(known + len(self.boxes)))
            ground_truth.colours, self.colours = palette[:known], palette[known:]
            for found, object_ in self._matches(ground_truth):
                self.colours[found] = palette[object_]
        return super().compare(ground_truth)

    def _matches(self, ground_truth: "Detections") -> Iterator[tuple[int, int]]:
        """Yield pairs of objects of one class that overlap, those of high score first."""
        ious = _ious(self.boxes, ground_truth.boxes)
        ious[self.labels[:, None] != ground_truth.labels] = 0
        for number in range(len(self.boxes)):
            if ious[number].max(initial=0) >= MATCHING_IOU:
                object_ = int(ious[number].argmax())
                ious[:, object_] = 0
                yield number, object_

    def _scale(self, x: float, y: float) -> None:
        self.boxes = self.boxes * np.array([x, y, x, y], np.float32)
        if self.masks is not None:
            size = self.source.image.shape[1::-1]
            masks = [cv2.resize(mask.astype(np.uint8), size) for mask in self.masks]
            self.masks = np.reshape(masks, (-1, *size[::-1])).astype(bool)

    def _draw(self, image: Image) -> Image:
        """Draw masks, boxes, names and scores; the first object on top."""
        colours = self.colours
        if colours is None:
            palette = class_colours(self.meta, int(self.labels.max(initial=0)) + 1)
            colours = [palette[label] for label in self.labels.tolist()]
        if self.masks is not None:
            draw_masks(image, self.masks[::-1], colours[::-1], self.opacity)
        draw_boxes(image, self.boxes[::-1], colours[::-1])
        texts = self.names
        if not self.is_ground_truth:
            texts = [f"{name} {score:.0%}" for name, score in zip(texts, self.scores, strict=True)]
        corners = self.boxes[:, :2].tolist()
        labels = [
            Label(text, x, y, colour)
            for text, (x, y), colour in zip(texts, corners, colours, strict=True)
        ]
        return draw_labels(image, labels)

    def to_dict(self) -> dict[str, Any]:
        """Return image size, and annotations in COCO's format with run-length encoded masks."""
        ids = category_ids(self.meta, int(self.labels.max(initial=0)) + 1)
        return self._coco_entry(self._annotation(number, ids) for number in range(len(self.labels)))

    def _annotation(self, number: int, ids: Sequence[int]) -> dict[str, Any]:
        annotation = {
            "category_id": ids[self.labels[number]],
            **coco_annotation(self.boxes[number], self.scores[number]),
        }
        if self.masks is not None:
            annotation["area"] = int(self.masks[number].sum())
            annotation["segmentation"] = _run_lengths(self.masks[number])
        return annotation

    @classmethod
    def categories(cls, meta: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the classes; COCO's 80 have COCO's own ids."""
        classes = meta.get("classes") or ()
        ids = category_ids(meta, len(classes))
        return [{"id": number, "name": name} for number, name in zip(ids, classes, strict=False)]


def category_ids(meta: Mapping[str, Any], count: int) -> list[int]:
    """Return ids of at least `count` categories in COCO's format: COCO's own, or 1, 2, 3 ..."""
    classes = tuple(meta.get("classes") or ())
    if len(classes) == 80 and (classes[0], classes[-1]) == ("person", "toothbrush"):
        return [number for number in range(1, 91) if number not in NO_COCO_IDS]
    return list(range(1, max(count, len(classes)) + 1))


def _ious(boxes: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.floating]:
    """Intersection over union (N, M) of boxes (N, 4) and (M, 4)."""
    corners = (
        np.maximum(boxes[:, None, :2], others[:, :2]),
        np.minimum(boxes[:, None, 2:], others[:, 2:]),
    )
    overlap = np.clip(corners[1] - corners[0], 0, None).prod(-1)
    areas, other_areas = ((b[:, 2:] - b[:, :2]).prod(-1) for b in (boxes, others))
    return overlap / np.maximum(areas[:, None] + other_areas - overlap, 1e-9)


def _run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's compressed run-length encoding, as text."""
    from pycocotools.mask import encode

    encoded = encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}
