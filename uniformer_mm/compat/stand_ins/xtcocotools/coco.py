"""pycocotools' `COCO` with the arguments that xtcocotools adds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import coco


class COCO(coco.COCO):
    """Annotations in COCO format.

    Args:
        annotation_file: Path of the JSON file.
        test_index: Indices of the keypoints to keep; all of them by default.
        ann_data: Content of the annotation file, if it has already been read.
    """

    def __init__(
        self,
        annotation_file: str | None = None,
        test_index: Any = None,
        ann_data: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.anno_file: list[Any] = [annotation_file]
        self.test_index = test_index
        if annotation_file is None and ann_data is None:
            return
        if ann_data is None:
            ann_data = json.loads(Path(str(annotation_file)).read_text(encoding="utf-8"))
        if not isinstance(ann_data, dict):
            raise TypeError(f"annotation file format {type(ann_data)} not supported")
        self.dataset: dict[str, Any] = ann_data
        for annotation in ann_data.get("annotations", ()):
            annotation.setdefault("iscrowd", False)
            if test_index is not None:
                keypoints = np.reshape(annotation["keypoints"], (-1, 3))[test_index]
                annotation["keypoints"] = keypoints.ravel().tolist()
        self.createIndex()

    def loadRes(self, resFile: Any, resData: list[Any] | None = None) -> coco.COCO:  # noqa: N802, N803
        """Load detections; the list may be empty.

        Args:
            resFile: Path of a JSON file, a list of detections, or an array (N, 7).
            resData: Content of the file, if it has already been read.
        """
        if len(self.anno_file) == 1:
            self.anno_file.append(resFile)
        results = resFile
        if isinstance(resFile, str):
            results = json.loads(Path(resFile).read_text()) if resData is None else resData
        if len(results) == 0:
            return COCO(ann_data={**self.dataset, "annotations": []})
        return super().loadRes(results)
