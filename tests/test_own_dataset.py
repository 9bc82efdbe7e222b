"""The configs of docs/own_dataset.md train and evaluate on folders laid out as it says."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from running import ROOT, run_inside

from uniformer_mm.datasets.synthetic.coco import SyntheticCoco
from uniformer_mm.datasets.synthetic.kinetics import draw_clip, write_video

PAGE = (ROOT / "docs" / "own_dataset.md").read_text()
EXAMPLES = dict(re.findall(r"```python\n# (my_\w+)\.py\n(.*?)```", PAGE, re.DOTALL))


def draw_boxes(folder: Path) -> None:
    """Instances of two classes with an annotation file per split."""
    root = SyntheticCoco(num_train=2, num_val=1, image_size=96).make(folder / "images")
    for split in ("train", "val"):
        content = json.loads((root / "annotations" / f"instances_{split}2017.json").read_text())
        content["categories"] = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
        for image in content["images"]:
            image["file_name"] = f"{split}2017/{image['file_name']}"
        for annotation in content["annotations"]:
            annotation["category_id"] = annotation["category_id"] % 2 + 1
        (folder / f"{split}.json").write_text(json.dumps(content))


def draw_plants(folder: Path) -> None:
    """Two images a split with leaves and stems, and their label maps."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("images", "maps"):
            (folder / split / name).mkdir(parents=True)
        for index in range(2):
            labels = np.zeros((72, 96), np.uint8)
            labels[20:60, 40:48] = 2
            labels[10:40, 10 + index : 40] = 1
            colours = np.array([(90, 90, 90), (40, 180, 40), (60, 90, 130)], np.float32)
            image = np.clip(colours[labels] + rng.normal(0, 8, (72, 96, 3)), 0, 255)
            labels[0, 0] = 255
            cv2.imwrite(str(folder / split / "images" / f"{index}.jpg"), image.astype(np.uint8))
            cv2.imwrite(str(folder / split / "maps" / f"{index}.png"), labels)


def draw_actions(folder: Path) -> None:
    """Clips of two classes and their lists."""
    (folder / "videos").mkdir(parents=True)
    for split, count in (("train", 4), ("val", 2)):
        lines = []
        for index in range(count):
            frames = draw_clip(index % 2, 64, np.random.default_rng(index))
            write_video(folder / "videos" / f"{split}{index}.mp4", frames)
            lines.append(f"{split}{index}.mp4 {index % 2}\n")
        (folder / f"{split}.txt").write_text("".join(lines))


def draw_pets(folder: Path) -> None:
    """Two images of each class and split, and a hidden folder."""
    rng = np.random.default_rng(0)
    for path in (f"{split}/{name}" for split in ("train", "val") for name in ("cat", "dog")):
        (folder / path).mkdir(parents=True)
        for index in range(2):
            image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / path / f"{index}.webp"), image)
    (folder / "train" / ".ipynb_checkpoints").mkdir()


ONE_EPOCH = ["train_cfg.max_epochs=1", "train_cfg.val_interval=1", "train_dataloader.batch_size=2"]
NO_CHECKPOINT = ("interval=1000", "save_last=False", "save_best=None")
SMALL_CLIPS = [
    *ONE_EPOCH,
    *(
        f"{split}_dataloader.dataset.pipeline.1.{key}"
        for split in ("train", "val")
        for key in ("clip_len=4", "frame_interval=2")
    ),
    "train_dataloader.dataset.pipeline.5.scale=(64,64)",
    "val_dataloader.dataset.pipeline.3.scale=(-1,64)",
    "val_dataloader.dataset.pipeline.4.crop_size=64",
]

# config: (maker of its folder, name of it, smallest sizes and schedule, what is printed)
CASES = {
    "my_coco": (
        (draw_boxes, "pets"),
        [
            *ONE_EPOCH,
            "train_dataloader.dataset.pipeline.2.scale=(96,96)",
            "val_dataloader.dataset.pipeline.1.scale=(96,96)",
            "model.train_cfg.rcnn.sampler.num=16",
            "model.test_cfg.rcnn.max_per_img=5",
        ],
        ("coco/bbox_mAP: ", "coco/segm_mAP: "),
    ),
    "my_maps": (
        (draw_plants, "plants"),
        [
            *("train_cfg.max_iters=2", "train_cfg.val_interval=2", "train_dataloader.batch_size=2"),
            "model.data_preprocessor.size=(64,64)",
            "train_dataloader.dataset.pipeline.2.scale=(96,64)",
            "train_dataloader.dataset.pipeline.3.crop_size=(64,64)",
            "val_dataloader.dataset.pipeline.1.scale=(96,64)",
        ],
        ("mIoU: ", r"\|\s*leaf\s*\|", r"\|\s*stem\s*\|"),
    ),
    "my_pets": (
        (draw_pets, "pets"),
        [*ONE_EPOCH, "train_dataloader.dataset.pipeline.1.scale=64"],
        ("accuracy/top1: ",),
    ),
    "my_actions": ((draw_actions, "clips"), SMALL_CLIPS, ("acc/top1: ",)),
    "my_labels": ((draw_actions, "clips"), SMALL_CLIPS, ("acc/mean_average_precision: ",)),
}


def test_every_example_is_tried():
    assert set(EXAMPLES) == set(CASES)


@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_own_data_train_and_evaluate(name, tmp_path, monkeypatch, capfd):
    (make, folder), options, printed = CASES[name]
    make(tmp_path / folder)
    for other, text in EXAMPLES.items():  # one may derive from another
        (tmp_path / f"{other}.py").write_text(text.replace('"configs/', f'"{ROOT}/configs/'))
    config = tmp_path / f"{name}.py"
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val"):
        loader = f"{split}_dataloader"
        options = [*options, f"{loader}.num_workers=0", f"{loader}.persistent_workers=False"]
    options += ["model.backbone.init_cfg=None", "default_hooks.logger.interval=1"]
    options += [f"default_hooks.checkpoint.{key}" for key in NO_CHECKPOINT]
    assert not run_inside("train.py", config, "--cfg-options", *options)
    output = "".join(capfd.readouterr())
    for pattern in printed:
        assert re.search(pattern, output), output[-3000:]
