"""The keypoints that an annotation file in COCO format names, as mmpose's metainfo."""

from collections.abc import Sequence
from typing import Any

from uniformer_mm.datasets.validation.coco_format import Entry, read_categories
from uniformer_mm.errors import UserError, printable

SIGMA = 0.067
"""Mean of COCO's sigmas, which scale the distance of keypoints in OKS, the similarity behind AP."""


def keypoint_names(categories: Sequence[Entry]) -> list[str]:
    """Return the names of the keypoints of some categories, in mmpose's spelling; empty if none."""
    named = [category["keypoints"] for category in categories if category.get("keypoints")]
    names = named[0] if named else []
    if not isinstance(names, list):
        return []  # the validation of annotations names the fault
    return [str(name).lower().replace(" ", "_") for name in names]


def keypoint_metainfo(path: str) -> dict[str, Any] | None:
    """Return the metainfo for the keypoints of an annotation file; None if it does not name them.

    Left and right keypoints are swapped in horizontal flips: those that `flip_idx` of the category
    names (indices from 0, as in YOLO's data.yaml), or whose names differ in "left" and "right".

    Args:
        path: The file.

    Raises:
        UserError: Categories have different keypoints, or the indices of a category are wrong.
    """
    categories = read_categories(path)
    names = keypoint_names(categories)
    if not names:
        return None
    posed = [category for category in categories if category.get("keypoints")]
    if any(keypoint_names([category]) != names for category in posed):
        raise UserError(
            f"{path} has categories with different keypoints, but a pose model has one set of"
            " keypoints. Train a model for each"
        )
    if len(set(names)) < len(names):
        raise UserError(f"{path} has a keypoint twice: {printable(', '.join(names))}")
    first = posed[0]
    count = len(names)
    swaps = first.get("flip_idx") or [names.index(_mirrored(name, names)) for name in names]
    links = [[end - 1 for end in link] for link in first.get("skeleton") or ()]  # COCO's: from 1
    if sorted(swaps) != [*range(count)] or any(swaps[swap] != i for i, swap in enumerate(swaps)):
        raise UserError(
            f"{path} has the flip_idx {printable(str(swaps))}, expected the index of the keypoint"
            f" on the other side for each of {count}, from 0"
        )
    if any(not 0 <= end < count for link in links for end in link):
        raise UserError(f"{path} has a skeleton with an index beyond its {count} keypoints, from 1")
    return {
        "dataset_name": "own_keypoints",
        "keypoint_info": {
            index: {"id": index, "name": name, "swap": names[swap] if swap != index else ""}
            for index, (name, swap) in enumerate(zip(names, swaps, strict=True))
        },
        "skeleton_info": {
            index: {"id": index, "link": (names[start], names[end])}
            for index, (start, end) in enumerate(links)
        },
        "joint_weights": [1.0] * count,
        "sigmas": [SIGMA] * count,
    }


def _mirrored(name: str, names: Sequence[str]) -> str:
    """Return the name of the keypoint on the other side; the same name if there is none."""
    for side, other in (("left", "right"), ("right", "left")):
        if side in name and (mirrored := name.replace(side, other)) in names:
            return mirrored
    return name
