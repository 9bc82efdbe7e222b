"""Datasets of the annotation tool LabelMe: a JSON file next to every image."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from uniformer_mm.datasets.conversion.annotated import (
    AnnotatedDataset,
    AnnotatedImage,
    Instance,
    errors_of,
    image_size,
    merge_groups,
    require,
    split_of,
)
from uniformer_mm.errors import UserError

SHAPES = ("rectangle", "polygon")
"""Types of shapes that are objects, besides masks."""

REMEDY = "Save the image in LabelMe again"


def read(source: Path) -> AnnotatedDataset:
    """Read a dataset.

    Args:
        source: Its folder.

    Raises:
        UserError: The dataset has a fault.
    """
    labelme = require("supervision.dataset.formats.labelme", "labelme")
    files = sorted(source.rglob("*.json")) if source.is_dir() else []
    if not files:
        raise UserError(
            f"{source} has no JSON files: --labelme takes a folder with a JSON file per image"
        )
    dataset = AnnotatedDataset(source, ())
    names: set[str] = set()
    for file in files:
        with errors_of(file, REMEDY):
            content = json.loads(file.read_text(encoding="utf-8-sig"))
            if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
                raise UserError(f"{file} is not a file of LabelMe: it has no list `shapes`")
            path = _image_file(file, content)
            size = content.get("imageWidth") or 0, content.get("imageHeight") or 0
            image = AnnotatedImage(path, size if all(size) else image_size(path))
            image.split = split_of(file.relative_to(source))
            image.instances = _instances(labelme, content["shapes"], image.size, dataset)
        names.update(instance.name for instance in image.instances)
        dataset.images.append(image)
    dataset.classes = tuple(sorted(names))
    return dataset


def _image_file(file: Path, content: dict[str, Any]) -> Path:
    """Return the image of a JSON file.

    Raises:
        UserError: There is none.
    """
    stated = str(content.get("imagePath") or "").replace("\\", "/")
    for path in (file.parent / stated, file.parent / Path(stated).name):
        if path.is_file():
            return path
    raise UserError(
        f"there is no image {file.parent / stated}, the imagePath of {file}. Put it there, or"
        " correct imagePath"
    )


def _instances(
    labelme: Any, shapes: list[dict[str, Any]], size: tuple[int, int], dataset: AnnotatedDataset
) -> list[Instance]:
    """Return the objects of an image: shapes of one label and group_id are one object.

    The library checks the shapes. Their masks, which it rounds to pixels, are not used.
    """
    parts = []
    for shape in shapes:
        kind = shape.get("shape_type")
        if kind == "mask":
            parts.append((shape.get("group_id"), _mask_instance(shape, size)))
            continue
        if kind not in SHAPES:
            dataset.skipped[f"shapes of the type {kind}"] += 1
            continue
        classes = {shape.get("label"): 0}
        detections = labelme.labelme_shapes_to_detections([shape], classes, size, with_masks=False)
        left, top, right, bottom = detections.xyxy[0].tolist()
        instance = Instance(shape["label"])
        if kind == "rectangle":
            instance.box = left, top, right - left, bottom - top
        else:
            instance.polygons = [[float(value) for point in shape["points"] for value in point]]
        parts.append((shape.get("group_id"), instance))
    return merge_groups(parts)


def _mask_instance(shape: dict[str, Any], size: tuple[int, int]) -> Instance:
    """Return the object of a mask, a PNG in base64 of the pixels in its box."""
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as image:
        pixels = np.array(image).astype(bool)
    left, top = (int(value) for value in shape["points"][0])
    mask = np.zeros(size[::-1], bool)
    mask[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    instance = Instance(shape["label"])
    instance.set_mask(mask)
    return instance
