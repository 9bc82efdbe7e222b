"""mmpose permutes the keypoints of a metainfo that was read from a dumped config.

Defect: mmengine dumps dicts sorted by the text of their keys, so `keypoint_info` has the keys 0, 1,
    10, 11, 2. mmpose lists the keypoints (`flip_indices`, `keypoint_colors`) in that order.
Versions: mmpose 1.3.2; mmengine <= 0.10.7, onedl-mmengine <= 0.10.12.
Shows as: silently wrong flip tests and augmentation, with 11 keypoints and more in a config of the
    working directory.
Repair: keypoints and links are sorted by their index.
Upstream: https://github.com/open-mmlab/mmpose/blob/v1.3.2/mmpose/datasets/datasets/utils.py
"""

from types import ModuleType
from typing import Any

from uniformer_mm.compat.patching import wrap


def patch(module: ModuleType) -> None:
    """Let mmpose read keypoints in the order of their indices."""
    wrap(module, "parse_pose_metainfo", _parse_pose_metainfo)


def _parse_pose_metainfo(parse: Any, metainfo: dict[str, Any]) -> dict[str, Any]:
    by_index = {
        name: dict(sorted(metainfo[name].items()))
        for name in ("keypoint_info", "skeleton_info")
        if isinstance(metainfo.get(name), dict)
    }
    return parse({**metainfo, **by_index})


PATCHES = {"mmpose.datasets.datasets.utils": patch}
