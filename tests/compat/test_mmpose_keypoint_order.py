"""Keypoints of a dumped config keep their order."""

import pytest
from mmengine.config import Config

from uniformer_mm.compat import mmpose_keypoint_order

pytestmark = pytest.mark.stack


def test_a_dumped_metainfo_has_the_same_flip_indices(tmp_path):
    from mmpose.datasets.datasets.utils import parse_pose_metainfo

    count = 12
    info = {i: {"id": i, "name": f"k{i}", "swap": f"k{count - 1 - i}"} for i in range(count)}
    meta = {
        "dataset_name": "own",
        "keypoint_info": info,
        "skeleton_info": {},
        "joint_weights": [1.0] * count,
        "sigmas": [0.05] * count,
    }
    Config({"metainfo": meta}).dump(tmp_path / "config.py")
    dumped = Config.fromfile(tmp_path / "config.py").metainfo
    assert [*dumped.keypoint_info][:4] == [0, 1, 10, 11], "the defect of mmengine"
    broken = parse_pose_metainfo.__wrapped__(dict(dumped))
    assert broken["flip_indices"] != [*range(count)][::-1], "the defect of mmpose"
    assert parse_pose_metainfo(dict(dumped))["flip_indices"] == [*range(count)][::-1]
    assert parse_pose_metainfo.wrapped_by is mmpose_keypoint_order._parse_pose_metainfo
