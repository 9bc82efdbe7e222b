"""Boxes of persons, for top-down pose estimation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uniformer_mm.errors import UserError
from uniformer_mm.visualization.detections import Detections
from uniformer_mm.visualization.prediction import Prediction

Boxes = NDArray[np.float32]
"""(N, 4), as x1, y1, x2, y2 in pixels."""

BoxesByImage = dict[tuple[str, int | None], Boxes]
"""By file name and, in a video, frame number."""


def read_boxes(path: str | Path) -> BoxesByImage:
    """Read boxes of persons from a JSON file.

    Args:
        path: Either `{"image.jpg": [[x1, y1, x2, y2], ...], ...}`, or a file in COCO's format, such
            as written predictions of a detector. If it has a category "person", other categories
            are left out. Crowds are left out.

    Raises:
        UserError: The file cannot be read, or has neither format.
    """
    try:
        content = json.loads(Path(path).read_text())
        if "images" in content:
            return _coco_boxes(content)
        return {(name, None): as_boxes(boxes) for name, boxes in content.items()}
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} has no boxes of persons ({type(error).__name__}: {error}): expected"
            ' {"image.jpg": [[x1, y1, x2, y2], ...]} or a file in COCO\'s format'
        ) from error


def as_boxes(boxes: Any) -> Boxes:
    """Convert boxes to an array.

    Raises:
        UserError: They are not boxes.
    """
    try:
        array = np.asarray(boxes, np.float32).reshape(-1, 4)
    except (ValueError, TypeError) as error:
        raise UserError(f"a box is four numbers x1, y1, x2, y2, got {boxes}") from error
    if not np.isfinite(array).all() or (array[:, 2:] <= array[:, :2]).any():
        raise UserError(f"a box has x1 < x2 and y1 < y2, got {boxes}")
    return array


def persons(prediction: Prediction) -> Boxes:
    """Return the boxes of the persons that a detector found.

    Raises:
        UserError: The model is not a detector, or has no class "person".
    """
    if not isinstance(prediction, Detections):
        raise UserError("boxes of persons need a detector, not a model of another task")
    if "person" not in (prediction.meta.get("classes") or ()):
        raise UserError("the detector has no class 'person'")
    return prediction.boxes[[name == "person" for name in prediction.names]]


def _coco_boxes(content: dict[str, Any]) -> BoxesByImage:
    keys = {image["id"]: (image["file_name"], image.get("frame")) for image in content["images"]}
    categories = {entry["name"]: entry["id"] for entry in content.get("categories", ())}
    person = categories.get("person")
    found: dict[tuple[str, int | None], list[list[float]]] = {key: [] for key in keys.values()}
    for annotation in content["annotations"]:
        is_person = person is None or annotation["category_id"] == person
        if is_person and not annotation.get("iscrowd"):
            x, y, width, height = annotation["bbox"]
            found[keys[annotation["image_id"]]].append([x, y, x + width, y + height])
    return {key: as_boxes(boxes) for key, boxes in found.items()}
