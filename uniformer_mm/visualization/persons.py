"""Pose estimation: persons with their joints."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.media import Frame, Image
from uniformer_mm.datasets.overrides import distinct_colours
from uniformer_mm.visualization.drawing import Label, blend, draw_boxes, draw_labels, draw_skeleton
from uniformer_mm.visualization.prediction import (
    Prediction,
    as_array,
    as_colours,
    coco_annotation,
    rounded,
)


class Persons(Prediction):
    """Persons of an image.

    Attributes:
        keypoints: (N, K, 2), as x, y in pixels.
        keypoint_scores: (N, K), from 0 to 1; those of the joint times that of the person's box.
        boxes: (N, 4) that were cropped, as x1, y1, x2, y2 in pixels.
        scores: (N,), the mean of the scores of the visible joints.
        threshold: Score threshold of visible joints.
    """

    default_threshold = 0.3

    source: Frame
    keypoints: NDArray[np.float32]
    keypoint_scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    threshold: float

    @classmethod
    def from_samples(
        cls, source: Any, samples: Sequence[Any], meta: Mapping[str, Any], threshold: float
    ) -> "Persons":
        """From mmpose's PoseDataSamples; boxes with a score below the threshold are left out."""
        persons = cls(source, meta)._empty(threshold)
        for sample in samples:
            instances = sample.pred_instances
            scores = as_array(instances.keypoint_scores)
            box_scores = as_array(instances.get("bbox_scores", np.ones(len(scores), np.float32)))
            kept = box_scores >= threshold
            persons._append(
                as_array(instances.keypoints)[kept, :, :2],
                (scores * box_scores[:, None])[kept],
                as_array(instances.get("bboxes", np.zeros((len(scores), 4), np.float32)))[kept],
            )
        return persons

    @classmethod
    def from_ground_truth(
        cls, source: Any, samples: Sequence[Any], meta: Mapping[str, Any]
    ) -> "Persons | None":
        """From mmpose's PoseDataSamples; of transformed joints, without boxes."""
        if not all("gt_instances" in sample for sample in samples):
            return None
        persons = cls(source, meta)._empty()
        persons.is_ground_truth = True
        for sample in samples:
            instances = sample.gt_instances
            joints = as_array(instances.get("transformed_keypoints", instances.keypoints))[..., :2]
            visible = as_array(instances.keypoints_visible).reshape(*joints.shape[:2], -1)[..., 0]
            persons._append(joints, (visible > 0).astype(np.float32), np.zeros((0, 4), np.float32))
        return persons

    @classmethod
    def from_annotations(
        cls, source: Any, annotations: Sequence[Mapping[str, Any]], meta: Mapping[str, Any]
    ) -> "Persons":
        """From annotations in COCO's format; those without joints are left out."""
        persons = cls(source, meta)._empty()
        persons.is_ground_truth = True
        for annotation in annotations:
            joints = np.reshape(annotation["keypoints"], (1, -1, 3)).astype(np.float32)
            if joints[..., 2].any():
                x, y, width, height = annotation["bbox"]
                box = np.array([[x, y, x + width, y + height]], np.float32)
                visible = (joints[..., 2] > 0).astype(np.float32)
                persons._append(joints[..., :2], visible, box)
        return persons

    def _empty(self, threshold: float = 0.5) -> "Persons":
        joints = len(self.meta["keypoint_id2name"])
        self.keypoints = np.zeros((0, joints, 2), np.float32)
        self.keypoint_scores = np.zeros((0, joints), np.float32)
        self.boxes = np.zeros((0, 4), np.float32)
        self.threshold = threshold
        return self

    def _append(self, keypoints: NDArray, scores: NDArray, boxes: NDArray) -> None:
        self.keypoints = np.concatenate([self.keypoints, keypoints])
        self.keypoint_scores = np.concatenate([self.keypoint_scores, scores])
        self.boxes = np.concatenate([self.boxes, boxes])

    @property
    def visible(self) -> NDArray[np.bool_]:
        """Joints (N, K) whose score reaches the threshold."""
        return self.keypoint_scores >= self.threshold

    @property
    def scores(self) -> NDArray[np.float64]:
        """Score of each person."""
        total = np.where(self.visible, self.keypoint_scores, 0).sum(1)
        return total / np.maximum(self.visible.sum(1), 1)

    def _scale(self, x: float, y: float) -> None:
        self.keypoints = self.keypoints * np.array([x, y], np.float32)
        self.boxes = self.boxes * np.array([x, y, x, y], np.float32)

    def _draw(self, image: Image) -> Image:
        """Draw skeletons in the dataset's colours, and a box with the score of each person."""
        colours = as_colours(distinct_colours(len(self.keypoints)))
        drawn = image.copy()
        draw_boxes(drawn, self.boxes, colours[: len(self.boxes)])
        links = [(int(start), int(end)) for start, end in self.meta.get("skeleton_links", ())]
        link_colours = as_colours(self.meta["skeleton_link_colors"])
        joint_colours = as_colours(self.meta["keypoint_colors"])
        for joints, visible in zip(self.keypoints, self.visible, strict=True):
            draw_skeleton(drawn, joints, visible, links, link_colours, joint_colours)
        drawn = blend(image, drawn, self.opacity)
        if self.is_ground_truth:
            return drawn
        corners = self.boxes[:, :2].tolist()
        labels = [
            Label(f"person {score:.0%}", x, y, colour)
            for score, (x, y), colour in zip(self.scores, corners, colours, strict=True)
        ]
        return draw_labels(drawn, labels)

    def to_dict(self) -> dict[str, Any]:
        """Return image size, and annotations in COCO's format.

        Every joint has coordinates; visible ones have the flag 2, others 1.
        """
        return self._coco_entry(map(self._annotation, range(len(self.keypoints))))

    def _annotation(self, number: int) -> dict[str, Any]:
        flags = 1 + self.visible[number][:, None]
        return {
            "category_id": 1,
            "keypoints": rounded(np.hstack((self.keypoints[number], flags)).ravel(), 2),
            "keypoint_scores": rounded(self.keypoint_scores[number], 4),
            "num_keypoints": int(self.visible[number].sum()),
            **coco_annotation(self.boxes[number], self.scores[number]),
        }

    @classmethod
    def categories(cls, meta: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the person, with the names of its joints and the links between them, from 1."""
        names = meta["keypoint_id2name"]
        links = [[int(start) + 1, int(end) + 1] for start, end in meta.get("skeleton_links", ())]
        person = {"id": 1, "name": "person", "skeleton": links}
        return [{**person, "keypoints": [names[number] for number in sorted(names)]}]
