"""Detection in overlapping slices of large images, merged by SAHI."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from mmengine.structures import InstanceData
from numpy.typing import NDArray

from uniformer_mm.datasets.media import Frame
from uniformer_mm.errors import UserError
from uniformer_mm.models.archs import MIN_SIZE
from uniformer_mm.visualization import Detections

MATCH_THRESHOLD = 0.5
"""Overlap above which SAHI merges two objects of a class: intersection over the smaller area."""


def check_slices(size: int, overlap: float) -> None:
    """Check the size of slices in pixels and their overlap as a fraction of it.

    Raises:
        UserError: One is out of range.
    """
    if size < MIN_SIZE or not 0 <= overlap < 1:
        raise UserError(
            f"slices need a size of at least {MIN_SIZE} pixels and an overlap of at least 0 and"
            f" below 1, got {size} and {overlap}"
        )


def detect_in_slices(
    frame: Frame,
    size: int,
    overlap: float,
    detect: Callable[[Sequence[Frame]], Sequence[Detections]],
) -> Detections:
    """Detect objects in an image and in its slices, and merge them as SAHI does by default.

    Args:
        frame: The image.
        size: Side of the slices in pixels.
        overlap: Fraction of a slice that the next one overlaps.
        detect: Returns the detections of images.

    Returns:
        Detections in the image. If the model predicts masks, boxes enclose the merged masks.
    """
    from sahi.postprocess.combine import GreedyNMMPostprocess
    from sahi.slicing import get_slice_bboxes

    height, width = frame.image.shape[:2]
    boxes = get_slice_bboxes(height, width, size, size, False, overlap, overlap)
    if len(boxes) > 1:
        boxes.append([0, 0, width, height])  # for objects larger than a slice
    parts = [replace(frame, image=frame.image[y1:y2, x1:x2]) for x1, y1, x2, y2 in boxes]
    results = detect(parts)
    objects = [
        entry
        for (x, y, *_), result in zip(boxes, results, strict=True)
        for entry in _shifted_objects(result, x, y, (height, width))
    ]
    merge = GreedyNMMPostprocess(MATCH_THRESHOLD, match_metric="IOS", class_agnostic=False)
    merged = merge(objects) if len(objects) > 1 else objects
    has_masks = any(result.masks is not None for result in results)
    instances = _instances(merged, (height, width) if has_masks else None)
    sample = SimpleNamespace(pred_instances=instances)
    return Detections.from_samples(frame, [sample], results[0].meta, threshold=0.0)


def _shifted_objects(found: Detections, x: int, y: int, shape: tuple[int, int]) -> list[Any]:
    """Return the objects of the slice at (x, y) as SAHI's, in the image of `shape`.

    As in SAHI, objects with an empty mask are left out.
    """
    from sahi.prediction import ObjectPrediction

    objects = []
    for number, box in enumerate(found.boxes):
        if found.masks is not None and not found.masks[number].any():
            continue
        entry = ObjectPrediction(
            bbox=box.tolist(),
            category_id=int(found.labels[number]),
            score=float(found.scores[number]),
            segmentation=None if found.masks is None else _polygons(found.masks[number], box),
            shift_amount=[x, y],
            full_shape=list(shape),
        )
        objects.append(entry.get_shifted_object_prediction())
    return objects


def _polygons(mask: NDArray[np.bool_], box: NDArray[np.float32]) -> list[list[float]]:
    """Return the polygons of a mask, or its box where they have no area, on which SAHI fails."""
    from sahi.utils.cv import get_coco_segmentation_from_bool_mask

    polygons = [
        polygon
        for polygon in get_coco_segmentation_from_bool_mask(mask)
        if cv2.contourArea(np.asarray(polygon, np.float32).reshape(-1, 2))
    ]
    left, top, right, bottom = box.tolist()
    return polygons or [[left, top, right, top, right, bottom, left, bottom]]


def _instances(objects: Sequence[Any], mask_shape: tuple[int, int] | None) -> InstanceData:
    """Return SAHI's objects as mmdet's instances, with masks of a shape if it is given."""
    boxes = [entry.bbox.to_xyxy() for entry in objects]
    instances = InstanceData(
        bboxes=np.asarray(boxes, np.float32).reshape(-1, 4),
        scores=np.asarray([entry.score.value for entry in objects], np.float32),
        labels=np.asarray([entry.category.id for entry in objects], np.int64),
    )
    if mask_shape is not None:
        masks: NDArray[np.bool_] = np.zeros((len(objects), *mask_shape), bool)
        for mask, entry in zip(masks, objects, strict=True):
            mask[:] = entry.mask.bool_mask
        instances.masks = masks
    return instances
