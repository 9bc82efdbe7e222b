"""Checks of keypoint annotations and of detected boxes, in the words of their files."""

import json
import math
from pathlib import Path
from typing import Any

from uniformer_mm.datasets.coco_files import category_names, read_coco, shown
from uniformer_mm.datasets.figures import JOINTS
from uniformer_mm.errors import UserError, printable


def check_keypoints(annotation_file: str) -> None:
    """Check that an annotation file has people with COCO's 17 joints.

    Raises:
        UserError: There is no such file, it is not in COCO's format, or has other joints.
    """
    content = read_coco(annotation_file)
    classes = category_names(annotation_file, content)
    if len(classes) != 1:
        raise UserError(
            f"{annotation_file} has the categories {printable(', '.join(classes))}: people have"
            " to be the only one"
        )
    names = content["categories"][0].get("keypoints", list(JOINTS))
    if not isinstance(names, list):
        raise UserError(
            f"{annotation_file}: its category has the keypoints {shown(names)}: it needs a list of"
            " names, or none for COCO's"
        )
    if [str(name).lower().replace(" ", "_") for name in names] != list(JOINTS):
        raise UserError(
            f"{annotation_file} has the {len(names)} keypoints"
            f" {printable(', '.join(map(str, names)))}: these configs are for COCO's {len(JOINTS)},"
            f" {', '.join(JOINTS)}. Others need a dataset with metainfo of their own, and"
            " head.out_channels"
        )
    labelled = 0
    for annotation in content["annotations"]:
        keypoints = annotation.get("keypoints") or []
        if not isinstance(keypoints, list) or len(keypoints) not in (0, 3 * len(JOINTS)):
            count = f"{len(keypoints)} numbers" if isinstance(keypoints, list) else shown(keypoints)
            raise UserError(
                f"{annotation_file}: annotation {shown(annotation.get('id'))} has {count} for its"
                f" keypoints; it needs x, y and visibility of {len(JOINTS)} joints,"
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
    strangers = sorted(people - images, key=str)
    if strangers:
        raise UserError(
            f"{boxes_file} has boxes for image {shown(strangers[0])}, which is not in"
            f" {annotation_file}: give the boxes for these images, or set bbox_file=None for"
            " annotated boxes"
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
        raise ValueError(f"bbox {shown(box['bbox'])} of image {shown(box['image_id'])}")
    float(box["score"])
    return box["image_id"]
