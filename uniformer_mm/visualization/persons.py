"""People with their joints."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.media import Frame, Image, swapped
from uniformer_mm.visualization.drawing import GREY, paint_boxes, paint_skeleton
from uniformer_mm.visualization.prediction import Prediction, as_array, rounded


class People(Prediction):
    """People of an image.

    Attributes:
        keypoints: (N, K, 2), as x, y in pixels.
        keypoint_scores: (N, K), from 0 to 1.
        boxes: (N, 4) in which they were sought, as x1, y1, x2, y2 in pixels.
        scores: (N,), the mean of the scores of the visible joints.
        threshold: Score from which on a joint is visible.
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
    ) -> "People":
        """From mmpose's PoseDataSamples, one per person."""
        people = [sample.pred_instances for sample in samples]
        joints = len(meta["keypoint_id2name"])
        empty = np.zeros((0, joints, 3), np.float32)
        prediction = cls(source, meta)
        prediction.keypoints = np.concatenate(
            [empty[..., :2], *(as_array(person.keypoints)[..., :2] for person in people)]
        )
        prediction.keypoint_scores = np.concatenate(
            [empty[..., 0], *(as_array(person.keypoint_scores) for person in people)]
        )
        prediction.boxes = np.concatenate(
            [np.zeros((0, 4), np.float32), *(as_array(person.bboxes) for person in people)]
        )
        prediction.threshold = threshold
        return prediction

    @property
    def visible(self) -> NDArray[np.bool_]:
        """Which joints (N, K) have at least the score of the threshold."""
        return self.keypoint_scores >= self.threshold

    @property
    def scores(self) -> NDArray[np.float64]:
        """Of each person."""
        seen = self.visible
        total = np.where(seen, self.keypoint_scores, 0).sum(1)
        return total / np.maximum(seen.sum(1), 1)

    def draw_on(self, image: Image) -> Image:
        """Skeletons, in the dataset's colours, and the boxes thin and grey."""
        canvas = swapped(image)
        paint_boxes(canvas, self.boxes, [GREY] * len(self.boxes))
        links = [(int(start), int(end)) for start, end in self.meta.get("skeleton_links", ())]
        link_colours, joint_colours = (
            [(int(red), int(green), int(blue)) for red, green, blue in self.meta[key]]
            for key in ("skeleton_link_colors", "keypoint_colors")
        )
        for joints, seen in zip(self.keypoints, self.visible, strict=True):
            paint_skeleton(canvas, joints, seen, links, link_colours, joint_colours)
        return swapped(canvas)

    def to_dict(self) -> dict[str, Any]:
        """Size of the image, and annotations in COCO's format.

        Every joint has its place; those that are visible are marked with 2, others with 1.
        """
        height, width = self.source.image.shape[:2]
        annotations = []
        for person in range(len(self.keypoints)):
            marks = 1 + self.visible[person][:, None]
            x1, y1, x2, y2 = self.boxes[person].astype(float)
            annotations.append(
                {
                    "category_id": 1,
                    "score": rounded(self.scores[person], 4),
                    "keypoints": rounded(np.hstack((self.keypoints[person], marks)).ravel(), 2),
                    "keypoint_scores": rounded(self.keypoint_scores[person], 4),
                    "num_keypoints": int(self.visible[person].sum()),
                    "bbox": rounded((x1, y1, x2 - x1, y2 - y1), 2),
                    "area": rounded((x2 - x1) * (y2 - y1), 2),
                    "iscrowd": 0,
                }
            )
        return {**self._identity(), "height": height, "width": width, "annotations": annotations}

    @classmethod
    def categories(cls, meta: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The person, with the names of its joints and the links between them, from 1."""
        names = meta["keypoint_id2name"]
        links = [[int(start) + 1, int(end) + 1] for start, end in meta.get("skeleton_links", ())]
        person = {"id": 1, "name": "person", "skeleton": links}
        return [{**person, "keypoints": [names[number] for number in sorted(names)]}]
