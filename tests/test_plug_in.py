"""The configs of docs/existing_configs.md run with the codebases' own tools, from any directory."""

import re
import sysconfig
from pathlib import Path

import pytest
from running import run_script

from uniformer_mm.datasets.synthetic.ade20k import SyntheticAde20k
from uniformer_mm.datasets.synthetic.coco import CLASSES, SyntheticCoco
from uniformer_mm.datasets.synthetic.coco_keypoints import SyntheticCocoKeypoints
from uniformer_mm.datasets.synthetic.imagenet import SyntheticImagenet
from uniformer_mm.datasets.synthetic.kinetics import SyntheticKinetics

pytestmark = [pytest.mark.slow, pytest.mark.stack]

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "existing_configs.md").read_text()
EXAMPLES = dict(re.findall(r"```python\n# (my_\w+)\.py\n(.*?)```", PAGE, re.DOTALL))

# config: (codebase, folder and type of its data, settings of a user with four images, score)
CASES = {
    "my_mask_rcnn": (
        "mmdet",
        "data/coco",
        SyntheticCoco,
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
            "model.train_cfg.rcnn.sampler.num=16",
            "model.test_cfg.rcnn.max_per_img=5",
        ],
        "Evaluating bbox",
    ),
    "my_upernet": (
        "mmseg",
        "data/ade/ADEChallengeData2016",
        SyntheticAde20k,
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
        SyntheticCocoKeypoints,
        ["train_cfg.max_epochs=1", "train_cfg.val_interval=1"],
        "coco/AP: ",
    ),
    "my_slowonly": (
        "mmaction",
        "data/kinetics400",
        SyntheticKinetics,
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
        SyntheticImagenet,
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
    codebase, folder, dataset, options, score = CASES[name]
    dataset(num_train=4, num_val=1, image_size=96).make(tmp_path / folder)
    (tmp_path / f"{name}.py").write_text(EXAMPLES[name])
    for split in ("train", "val"):
        loader = f"{split}_dataloader"
        options = [*options, f"{loader}.num_workers=0", f"{loader}.persistent_workers=False"]
    tool = Path(sysconfig.get_path("purelib"), codebase, ".mim", "tools", "train.py")
    status, *texts = run_script(
        *(tool, f"{name}.py", "--cfg-options", *options),
        *("train_dataloader.batch_size=2", "val_dataloader.batch_size=1"),
        *("default_hooks.logger.interval=1", "default_hooks.checkpoint.interval=1000"),
        "default_hooks.checkpoint.save_last=False",
        folder=tmp_path,
    )
    output = "".join(texts)
    assert status == 0, output[-3000:]
    assert "UniFormer" in output
    assert re.search(r"\[\s*2/", output), output[-3000:]
    assert score in output
