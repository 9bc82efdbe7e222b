"""Checks of annotation files in COCO's format, in the words of the files.

What codebases pass over stays: boxes without a size or outside of the image, and annotations of
images or categories that are not listed. What makes them fail without a name, or count wrongly
without a word, is refused.
"""

import json
import math
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from uniformer_mm.errors import UserError, printable

LISTS = ("images", "annotations", "categories")


def read_coco(path: str) -> dict[str, list[dict[str, Any]]]:
    """The content of an annotation file.

    Raises:
        UserError: There is no such file, or it does not have the lists of COCO's format.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        for name in LISTS:
            if not all(isinstance(entry, dict) for entry in content[name]):
                raise TypeError(f"an entry of {name!r} is no object")
    except FileNotFoundError as error:
        raise UserError(f"no annotation file {path}") from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} is not in COCO's format ({type(error).__name__}: {error}): it needs the lists"
            f" {', '.join(map(repr, LISTS))} of objects"
        ) from error
    return content


def category_names(path: str, content: dict[str, list[dict[str, Any]]]) -> tuple[str, ...]:
    """Names of the categories in the order of their ids.

    Raises:
        UserError: There are none, or they are no names, or not distinct.
    """
    categories = content["categories"]
    if not categories:
        raise UserError(f"{path} lists no categories")
    _check_ids(path, "category", categories)
    for category in categories:
        if not isinstance(category.get("name"), str):
            raise UserError(
                f"{path}: category {shown(category['id'])} has no name, but {shown(category)}"
            )
    names = [category["name"] for category in sorted(categories, key=lambda entry: entry["id"])]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{path} has two categories of the name {twice!r}")
    return tuple(names)


def check_annotations(
    path: str,
    *,
    classes: Sequence[str] | None = None,
    masks: bool = False,
    keypoints: bool = False,
    evaluated: bool = False,
) -> None:
    """Check a file of instances or of people.

    Args:
        path: The file.
        classes: Those of the dataset; None if it does not go by their names.
        masks: Whether masks are read.
        keypoints: Whether joints are read.
        evaluated: Whether predictions are compared with it, otherwise it is trained on.

    Raises:
        UserError: Something in the file would not be understood, or be misunderstood.
    """
    content = read_coco(path)
    names = category_names(path, content)
    strangers = [name for name in classes or () if name not in names]
    if strangers:
        known = printable(", ".join(names[:9])) + (", ..." if len(names) > 9 else "")
        raise UserError(
            f"{path} has no category {strangers[0]!r}: its categories are {known}. Set"
            " metainfo=dict(classes=...) of the datasets and num_classes of the heads, or give the"
            " data with --coco"
        )
    for name in ("images", "annotations")[: 1 if evaluated else 2]:
        if not content[name]:
            raise UserError(f"{path} has no {name}")
    _check_ids(path, "image", content["images"])
    _check_ids(path, "annotation", content["annotations"])
    given = [entry.get("keypoints") for entry in content["annotations"]]
    lengths = [len(points) for points in given if isinstance(points, list)]
    joints = max(lengths, default=0) // 3
    sizes = {}
    for image in content["images"]:
        if fault := _image_fault(image):
            raise UserError(f"{path}: image {shown(image['id'])} {fault}")
        sizes[image["id"]] = (image["height"], image["width"])
    # mmpose trains without areas, leaves people without a box out, and needs no crowds.
    needed = ["bbox", "area"] if evaluated or not keypoints else []
    needed += ["iscrowd"] if evaluated and not keypoints else []
    for annotation in content["annotations"]:
        fault = _annotation_fault(annotation, needed)
        size = None if fault else sizes.get(annotation["image_id"])
        if not fault and masks and size:
            fault = _mask_fault(annotation.get("segmentation"), size)
        if not fault and keypoints and (evaluated or "keypoints" in annotation):
            fault = _keypoints_fault(annotation.get("keypoints"), joints)
        if fault:
            raise UserError(f"{path}: annotation {shown(annotation['id'])} {fault}")
    if keypoints and not any(
        {"bbox", "keypoints"} <= annotation.keys() and annotation["image_id"] in sizes
        for annotation in content["annotations"]
    ):
        raise UserError(
            f"{path} has no person in any of its images: it takes an annotation with the id of an"
            " image, bbox and keypoints"
        )


def _check_ids(path: str, kind: str, entries: Sequence[dict[str, Any]]) -> None:
    """Every entry needs an id of its own, and all of one kind, to be sorted."""
    types = {type(entry.get("id")) for entry in entries}
    if not (types <= {int} or types <= {str}):
        wrong = next(entry for entry in entries if type(entry.get("id")) is not int)
        raise UserError(f"{path}: {kind} without a number as id: {shown(wrong)}")
    seen = set()
    for entry in entries:
        if entry["id"] in seen:
            raise UserError(f"{path} has two of the id {entry['id']!r}: {kind} ids have to differ")
        seen.add(entry["id"])


def _image_fault(image: dict[str, Any]) -> str:
    """What is wrong with an image, as the rest of a sentence about it; empty if nothing."""
    if not isinstance(image.get("file_name"), str) or not image["file_name"]:
        return f"has no file_name, but {shown(image.get('file_name'))}"
    for side in ("width", "height"):
        if not _finite([image.get(side)]) or image[side] <= 0:
            return f"has the {side} {shown(image.get(side))}: it needs a number of pixels"
    return ""


def _annotation_fault(annotation: dict[str, Any], needed: Sequence[str]) -> str:
    for name in ("image_id", "category_id"):
        if not isinstance(annotation.get(name), int | str):
            return f"has no {name}, but {shown(annotation.get(name))}"
    box: Any = annotation.get("bbox", None if "bbox" in needed else [0, 0, 0, 0])
    if not _finite(box) or len(box) != 4:
        return f"has the bbox {shown(box)}: it needs four finite numbers x, y, width, height"
    area = annotation.get("area", None if "area" in needed else 0)
    if not _finite([area]):
        return f"has the area {shown(area)}: it needs a finite number"
    crowd = annotation.get("iscrowd", None if "iscrowd" in needed else 0)
    if crowd not in (0, 1):
        return f"has the iscrowd {shown(crowd)}: it needs 0 or 1"
    return ""


def _mask_fault(mask: Any, size: tuple[int, int]) -> str:
    needs = "it needs polygons [[x1, y1, x2, y2, x3, y3, ...], ...] or a run-length encoding"
    if not mask or not isinstance(mask, list | dict):
        return f"has the segmentation {shown(mask)}: {needs}"
    if isinstance(mask, list):
        wrong = [polygon for polygon in mask if not _finite(polygon) or len(polygon) < 6]
        return f"has the segmentation {shown(wrong[0])}: {needs}" if wrong else ""
    if mask.get("size") != list(size):
        return f"has a mask of size {shown(mask.get('size'))} on an image of size {list(size)}"
    counts = mask.get("counts")
    if isinstance(counts, list):
        fits = _finite(counts) and sum(counts) == size[0] * size[1]
    else:
        fits = isinstance(counts, str) and _can_decode(counts, size)
    return "" if fits else f"has a mask with the counts {shown(counts)}, which do not fit its size"


def _can_decode(counts: str, size: tuple[int, int]) -> bool:
    from pycocotools import mask

    try:
        mask.decode({"size": list(size), "counts": counts.encode()})
    except ValueError:
        return False
    return True


def _keypoints_fault(keypoints: Any, joints: int) -> str:
    if not _finite(keypoints) or len(keypoints) != 3 * joints:
        count = f", {3 * joints} numbers" if joints else ""
        return (
            f"has the keypoints {shown(keypoints)}: it needs x, y and visibility of each joint"
            f"{count}"
        )
    return ""


def _finite(values: Any) -> bool:
    """Whether something is a list of finite numbers."""
    return isinstance(values, list) and all(
        isinstance(value, Real) and math.isfinite(value) for value in values
    )


def shown(value: Any) -> str:
    """Whatever stands in a file, in a few printable letters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
