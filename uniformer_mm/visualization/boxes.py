"""Where people are: boxes for pose estimation."""

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


def read_boxes(path: str | Path) -> dict[tuple[str, int | None], Boxes]:
    """Boxes of people by the name of the file and, in a video, the number of the frame.

    Args:
        path: A JSON file: either `{"image.jpg": [[x1, y1, x2, y2], ...], ...}`, or in COCO's
            format, as a detector's predictions are written; there, if a category is called person,
            others are left out, and crowds always are.

    Raises:
        UserError: There is no such file, or it is neither.
    """
    try:
        content = json.loads(Path(path).read_text())
        return _coco_boxes(content) if "images" in content else _plain_boxes(content)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} has no boxes of people ({type(error).__name__}: {error}): expected are"
            ' {"image.jpg": [[x1, y1, x2, y2], ...]} or a file in COCO\'s format'
        ) from error


def as_boxes(boxes: Any) -> Boxes:
    """Boxes as an array.

    Raises:
        UserError: They are none.
    """
    try:
        array = np.asarray(boxes, np.float32).reshape(-1, 4)
    except (ValueError, TypeError) as error:
        raise UserError(f"a box is four numbers x1, y1, x2, y2, got {boxes}") from error
    if not np.isfinite(array).all() or (array[:, 2:] <= array[:, :2]).any():
        raise UserError(f"a box has x1 < x2 and y1 < y2, got {boxes}")
    return array


def persons(prediction: Prediction) -> Boxes:
    """Boxes of the people that a detector found.

    Raises:
        UserError: It is no detector, or knows no class of that name.
    """
    if not isinstance(prediction, Detections):
        raise UserError("people are found by a detector, not by a model of another task")
    if "person" not in (prediction.meta.get("classes") or ()):
        raise UserError("the detector knows no class 'person'")
    return prediction.boxes[[name == "person" for name in prediction.names]]


def _plain_boxes(content: dict[str, Any]) -> dict[tuple[str, int | None], Boxes]:
    return {(name, None): as_boxes(boxes) for name, boxes in content.items()}


def _coco_boxes(content: dict[str, Any]) -> dict[tuple[str, int | None], Boxes]:
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
