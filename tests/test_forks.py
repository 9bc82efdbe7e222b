"""The maintained forks of OpenMMLab are used as they are; `.ci/forks` makes their environment."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from uniformer_mm.compat.distributions import owners

FORKS = {
    "mmengine": "onedl-mmengine",
    "mmcv": "onedl-mmcv",
    "mmdet": "onedl-mmdetection",
    "mmseg": "onedl-mmsegmentation",
    "mmpretrain": "onedl-mmpretrain",
}
BASES = {
    "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py": "MaskRCNN",
    "mmseg::upernet/upernet_r50_4xb4-160k_ade20k-512x512.py": "EncoderDecoder",
    "mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py": (
        "TopdownPoseEstimator"
    ),
    "mmaction::recognition/slowonly/slowonly_r50_8xb16-8x8x1-256e_kinetics400-rgb.py": (
        "Recognizer3D"
    ),
    "mmpretrain::resnet/resnet50_8xb32_in1k.py": "ImageClassifier",
}
JOBS = {
    "det/mask_rcnn_uniformer_s.py": "coco/bbox_mAP",
    "seg/semantic_fpn_uniformer_s_h14.py": "mIoU",
    "pose/td_hm_uniformer_s_256x192.py": "coco/AP",
    "video/uniformer_s_8x8_k400.py": "acc/top1",
    "cls/uniformer_s_in1k.py": "accuracy/top1",
}
ROOT = Path(__file__).resolve().parent.parent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(owners(package) != [fork] for package, fork in FORKS.items()),
        reason="the OpenMMLab packages are not the onedl forks: run .ci/forks",
    ),
]


@pytest.mark.parametrize("base", BASES)
def test_bases_of_every_codebase_are_found(base, tmp_path):
    (tmp_path / "config.py").write_text(f"_base_ = {base!r}\n")
    assert Config.fromfile(tmp_path / "config.py").model.type == BASES[base]


class Runs:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_file_that_is_refused_is_not_read_without_protection(tmp_path):
    torch.save({"state_dict": {}, "meta": Runs(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(pickle.UnpicklingError):
        CheckpointLoader.load_checkpoint(str(tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("config", JOBS)
def test_a_synthetic_job_trains_and_evaluates(config, tmp_path):
    (tmp_path / "small.py").write_text(
        f"_base_ = {str(ROOT / 'configs' / config)!r}\n"
        "model = dict(backbone=dict(arch=dict(_delete_=True, depths=(1, 1, 4, 1))))\n"
    )
    brief = ("train_cfg.max_iters=2", "train_cfg.val_interval=2")
    tool = ROOT / "tools" / "train.py"
    result = subprocess.run(
        [sys.executable, tool, "small.py", "--synthetic", "4", "--cfg-options", *brief],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=dict(os.environ, OMP_NUM_THREADS="1"),
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert f"{JOBS[config]}: " in result.stdout + result.stderr
