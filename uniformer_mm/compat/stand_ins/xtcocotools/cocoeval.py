"""pycocotools' `COCOeval` for the keypoint types, sigmas and areas of xtcocotools."""

from __future__ import annotations

import contextlib
import io
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import cocoeval

PARTS = {
    "keypoints_wholebody": (
        "keypoints",
        "foot_kpts",
        "face_kpts",
        "lefthand_kpts",
        "righthand_kpts",
    ),
    "keypoints_foot": ("foot_kpts",),
    "keypoints_face": ("face_kpts",),
    "keypoints_lefthand": ("lefthand_kpts",),
    "keypoints_righthand": ("righthand_kpts",),
}
"""Keys of an annotation with the keypoints of a type; `keypoints` for all other types."""

AREA_OF_BOX = 0.53
"""Ratio of a person's area to the box area, for annotations without area (CrowdPose, AIC)."""

CROWD_STATS = (0, 1, 2, 5, 6, 7)
"""AP, AP50, AP75, AR, AR50 and AR75 among pycocotools' ten keypoint scores."""

CROWD_LEVELS = ((-np.inf, 0.2), (0.2, 0.8), (0.8, np.inf))
"""Ranges of `crowdIndex` of easy, medium and hard images (CrowdPose, arXiv 1812.00324)."""


class COCOeval(cocoeval.COCOeval):
    """Scores of detections by object keypoint similarity (OKS) or by overlap.

    Args:
        cocoGt: Ground truth, a `COCO`.
        cocoDt: Detections, as its `loadRes` returns them.
        iouType: 'bbox', 'segm', 'keypoints', 'keypoints_crowd', or a type of `PARTS`.
        sigmas: Standard deviation of each keypoint's annotations relative to the person's size;
            those of COCO's 17 keypoints by default.
        use_area: Whether annotations have the area of the person; otherwise it is estimated from
            the box.
    """

    def __init__(
        self,
        cocoGt: Any = None,  # noqa: N803
        cocoDt: Any = None,  # noqa: N803
        iouType: str = "keypoints",  # noqa: N803
        sigmas: Any = None,
        use_area: bool = True,
    ) -> None:
        self._type = iouType
        self._has_keypoints = "keypoints" in iouType
        super().__init__(cocoGt, cocoDt, "keypoints" if self._has_keypoints else iouType)
        self.stats: Any = []
        if self._has_keypoints and sigmas is not None:
            self.params.kpt_oks_sigmas = np.asarray(sigmas)
        self.use_area = use_area
        is_part = iouType in PARTS
        self.score_key = f"{iouType.removeprefix('keypoints_')}_score" if is_part else "score"

    def _prepare(self) -> None:
        """Pass the keypoints, area and score of the type to pycocotools."""
        if not self._has_keypoints:
            super()._prepare()
            return
        self._gts: dict[Any, list] = defaultdict(list)
        self._dts: dict[Any, list] = defaultdict(list)
        self.evalImgs: Any = defaultdict(list)
        self.eval: dict[str, Any] = {}
        for found, persons, convert in (
            (self._gts, self._annotations(self.cocoGt), self._ground_truth),
            (self._dts, self._annotations(self.cocoDt), self._detection),
        ):
            # pycocotools treats a match with id 0 as no match.
            for number, annotation in enumerate(persons, 1):
                converted = {**annotation, **convert(annotation), "id": number}
                if converted["num_keypoints"] or found is self._gts:
                    found[annotation["image_id"], annotation["category_id"]].append(converted)

    def summarize(self) -> None:
        """Set and print `stats`: ten scores, or CrowdPose's nine."""
        super().summarize()
        if self._type == "keypoints_crowd":
            overall = [self.stats[index] for index in CROWD_STATS]
            levels = [self._crowd_score(*level) for level in CROWD_LEVELS]
            self.stats = np.array(overall + levels)

    def _annotations(self, source: Any) -> Iterable[dict[str, Any]]:
        params = self.params
        categories = params.catIds if params.useCats else []
        return source.loadAnns(source.getAnnIds(imgIds=params.imgIds, catIds=categories))

    def _ground_truth(self, annotation: dict[str, Any]) -> dict[str, Any]:
        keypoints, count = self._keypoints(annotation)
        if self._type == "keypoints_crowd":
            count = annotation["num_keypoints"]
        width, height = annotation["bbox"][2:]
        estimated = AREA_OF_BOX * width * height
        return {
            "keypoints": keypoints,
            "num_keypoints": count,
            "area": annotation.get("area", estimated) if self.use_area else estimated,
            "ignore": bool(annotation.get("iscrowd")) or not count,
        }

    def _detection(self, annotation: dict[str, Any]) -> dict[str, Any]:
        keypoints, count = self._keypoints(annotation)
        key = self.score_key if self.score_key in annotation else "score"
        return {"keypoints": keypoints, "num_keypoints": count, "score": annotation[key]}

    def _keypoints(self, annotation: dict[str, Any]) -> tuple[list[float], int]:
        """x, y and visibility or score of each keypoint, and how many are labeled or detected."""
        keys = PARTS.get(self._type, ("keypoints",))
        keypoints = [value for key in keys for value in annotation[key]]
        return keypoints, int(np.count_nonzero(np.asarray(keypoints[2::3]) > 0))

    def _crowd_score(self, low: float, high: float) -> float:
        """AP of the images in a range of `crowdIndex`, rounded as in xtcocotools."""
        images = json.loads(Path(self.cocoGt.anno_file[0]).read_text())["images"]
        chosen = [image["id"] for image in images if low <= image["crowdIndex"] < high]
        part = COCOeval(
            self.cocoGt, self.cocoDt, self._type, self.params.kpt_oks_sigmas, self.use_area
        )
        part.params.imgIds = chosen
        with contextlib.redirect_stdout(io.StringIO()):
            part.evaluate()
            part.accumulate()
        return round(float(np.mean(part.eval["precision"][:, :, :, 0, :])), 4)
