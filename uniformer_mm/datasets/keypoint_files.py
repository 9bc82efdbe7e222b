"""Checks of keypoint annotations and of detected boxes, in the words of their files."""

import json
import math
from pathlib import Path
from typing import Any

from uniformer_mm.datasets.coco_files import category_names, read_coco
from uniformer_mm.datasets.figures import JOINTS
from uniformer_mm.errors import UserError


def check_keypoints(annotation_file: str) -> None:
    """Check that an annotation file has people with COCO's 17 joints.

    Raises:
        UserError: There is no such file, it is not in COCO's format, or has other joints.
    """
    content = read_coco(annotation_file)
    classes = category_names(annotation_file, content)
    if len(classes) != 1:
        raise UserError(
            f"{annotation_file} has the categories {', '.join(classes)}: people have to be the"
            " only one"
        )
    names = content["categories"][0].get("keypoints", JOINTS)
    if [str(name).lower().replace(" ", "_") for name in names] != list(JOINTS):
        raise UserError(
            f"{annotation_file} has the {len(names)} keypoints {', '.join(map(str, names))}: these"
            f" configs are for COCO's {len(JOINTS)}, {', '.join(JOINTS)}. Others need a dataset"
            " with metainfo of their own, and head.out_channels"
        )
    labelled = 0
    for annotation in content["annotations"]:
        keypoints = annotation.get("keypoints") or []
        if keypoints and len(keypoints) != 3 * len(JOINTS):
            raise UserError(
                f"{annotation_file}: annotation {annotation.get('id')} has {len(keypoints)} numbers"
                f" for its keypoints; it needs x, y and visibility of {len(JOINTS)} joints,"
                f" {3 * len(JOINTS)} numbers"
            )
        labelled += any(keypoints[2::3]) and not annotation.get("iscrowd", 0)
    if not labelled:
        raise UserError(f"{annotation_file} has no person with a labelled joint")


def check_boxes(boxes_file: str, annotation_file: str) -> None:
    """Check the file of a detector's boxes against the images that they are for.

    Raises:
        UserError: It is not a list of boxes of people, or has some for other images.
    """
    images = {image.get("id") for image in read_coco(annotation_file)["images"]}
    try:
        boxes = json.loads(Path(boxes_file).read_text())
        people = {_image_of(box) for box in boxes if box["category_id"] == 1}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{boxes_file} cannot be read as detected boxes ({type(error).__name__}: {error}): it"
            ' needs a list of {"image_id", "category_id", "bbox": [x, y, width, height], "score"}'
        ) from error
    strangers = sorted(people - images)
    if strangers:
        raise UserError(
            f"{boxes_file} has boxes for image {strangers[0]}, which is not in {annotation_file}:"
            " give the boxes for these images, or set bbox_file=None for annotated boxes"
        )
    if not people:
        raise UserError(
            f"{boxes_file} has no box of category 1 (person): without people there is nothing to"
            " test"
        )


def _image_of(box: dict[str, Any]) -> int:
    """The image of a box that has a size and a score."""
    left, top, width, height = map(float, box["bbox"][:4])
    if not (math.isfinite(left + top + width + height) and min(width, height) > 0):
        raise ValueError(f"bbox {box['bbox']} of image {box['image_id']}")
    float(box["score"])
    return box["image_id"]
