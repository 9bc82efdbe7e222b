"""The configs of docs/existing_configs.md run with the codebases' own tools, from any directory."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from uniformer_mm.datasets.synthetic.ade20k import SyntheticAde20kSpec, make_synthetic_ade20k
from uniformer_mm.datasets.synthetic.coco import CLASSES, SyntheticCocoSpec, make_synthetic_coco
from uniformer_mm.datasets.synthetic.coco_keypoints import (
    SyntheticKeypointsSpec,
    make_synthetic_keypoints,
)
from uniformer_mm.datasets.synthetic.imagenet import (
    SyntheticImagenetSpec,
    make_synthetic_imagenet,
)
from uniformer_mm.datasets.synthetic.kinetics import (
    SyntheticKineticsSpec,
    make_synthetic_kinetics,
)

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "existing_configs.md").read_text()
EXAMPLES = dict(re.findall(r"```python\n# (my_\w+)\.py\n(.*?)```", PAGE, re.DOTALL))

# config: (codebase, folder and maker of its data, settings of a user with four images, score)
CASES = {
    "my_mask_rcnn": (
        "mmdet",
        "data/coco",
        (make_synthetic_coco, SyntheticCocoSpec),
        [
            "train_cfg.max_epochs=1",
            "model.roi_head.bbox_head.num_classes=6",
            "model.roi_head.mask_head.num_classes=6",
            *(
                f"{split}_dataloader.dataset.metainfo.classes=({','.join(CLASSES)})"
                for split in ("train", "val")
            ),
            "train_dataloader.dataset.pipeline.2.scale=(96,96)",
            "val_dataloader.dataset.pipeline.1.scale=(96,96)",
        ],
        "Evaluating bbox",
    ),
    "my_upernet": (
        "mmseg",
        "data/ade/ADEChallengeData2016",
        (make_synthetic_ade20k, SyntheticAde20kSpec),
        [
            "train_cfg.max_iters=2",
            "train_cfg.val_interval=2",
            "model.data_preprocessor.size=(64,64)",
            "train_dataloader.dataset.pipeline.2.scale=(128,64)",
            "train_dataloader.dataset.pipeline.3.crop_size=(64,64)",
            "val_dataloader.dataset.pipeline.1.scale=(128,64)",
        ],
        "mIoU: ",
    ),
    "my_pose": (
        "mmpose",
        "data/coco",
        (make_synthetic_keypoints, SyntheticKeypointsSpec),
        ["train_cfg.max_epochs=1", "train_cfg.val_interval=1"],
        "coco/AP: ",
    ),
    "my_slowonly": (
        "mmaction",
        "data/kinetics400",
        (make_synthetic_kinetics, SyntheticKineticsSpec),
        [
            "train_cfg.max_epochs=1",
            "train_cfg.val_interval=1",
            *(
                f"{split}_dataloader.dataset.{option}"
                for split in ("train", "val")
                for option in (
                    f"ann_file=data/kinetics400/kinetics_{split}_videos.txt",
                    "pipeline.1.frame_interval=2",
                    "pipeline.3.scale=(-1,64)",
                )
            ),
            "train_dataloader.dataset.pipeline.5.scale=(64,64)",
            "val_dataloader.dataset.pipeline.4.crop_size=64",
        ],
        "acc/top1: ",
    ),
    "my_classifier": (
        "mmpretrain",
        "data/imagenet",
        (make_synthetic_imagenet, SyntheticImagenetSpec),
        [
            "train_cfg.max_epochs=1",
            "train_dataloader.dataset.ann_file=meta/train.txt",
            "val_dataloader.dataset.ann_file=meta/val.txt",
        ],
        "accuracy/top1: ",
    ),
}


def test_every_example_is_tried():
    assert set(EXAMPLES) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_stock_config_with_another_backbone_trains_and_evaluates(name, tmp_path):
    codebase, folder, (make, spec), options, score = CASES[name]
    make(tmp_path / folder, spec(num_train=4, num_val=1, image_size=96))
    (tmp_path / f"{name}.py").write_text(EXAMPLES[name])
    for split in ("train", "val"):
        loader = f"{split}_dataloader"
        options = [*options, f"{loader}.num_workers=0", f"{loader}.persistent_workers=False"]
    tool = Path(sysconfig.get_path("purelib"), codebase, ".mim", "tools", "train.py")
    result = subprocess.run(
        [
            *(sys.executable, str(tool), f"{name}.py", "--cfg-options", *options),
            *("train_dataloader.batch_size=2", "val_dataloader.batch_size=1"),
            *("default_hooks.logger.interval=1", "default_hooks.checkpoint.interval=1000"),
            "default_hooks.checkpoint.save_last=False",
        ],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    output = result.stdout + result.stderr
    assert result.returncode == 0, output[-3000:]
    assert "UniFormer" in output
    assert re.search(r"\[\s*2/", output), output[-3000:]
    assert score in output
