#!/usr/bin/env python
"""Make docs/overview.jpg: detection, segmentation, pose and attention on one photo.

The photo is 000000000785.jpg of COCO val2017, see annotations.json for its source. Each model is
fitted to this photo alone, from random weights.

Examples:
  python docs/overview/make.py prepare PHOTO work_dirs/overview
  for task in detection segmentation pose; do
      python tools/train.py work_dirs/overview/$task.py --work-dir work_dirs/overview/$task
  done
  python docs/overview/make.py draw work_dirs/overview
"""

import argparse
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config

from uniformer_mm import Inferencer
from uniformer_mm.analysis.attention_maps import token_attention
from uniformer_mm.analysis.feature_recorder import FeatureRecorder, find_backbone
from uniformer_mm.analysis.overlays import Layer, draw_panel, input_frames
from uniformer_mm.apis.cli import run_tool
from uniformer_mm.apis.config import load_config
from uniformer_mm.checkpoints.latest import latest_checkpoint
from uniformer_mm.datasets.media import Image
from uniformer_mm.datasets.overrides import dataset_configs, set_num_classes
from uniformer_mm.errors import UserError
from uniformer_mm.tasks import task_of
from uniformer_mm.tasks.short_run import ShortRun, from_random_weights, scale_sizes, shrink_schedule
from uniformer_mm.visualization.drawing import side_by_side

FOLDER = Path(__file__).resolve().parent
ANNOTATIONS = FOLDER / "annotations.json"
PICTURE = FOLDER.parent / "overview.jpg"
WIDTH = 797
"""Of a panel in pixels; two and a gap are 1600."""

THRESHOLD = 0.9
"""Score threshold of objects: so short a training leaves duplicates of long, thin ones."""

BLOCK, TOKEN = "3.4", (0.92, 0.4)
"""Block whose attention is shown; place x, y of the token, in heights of the photo."""

CLASSES = ("sky", "mountain", "snow", "person", "ski")
PALETTE = [(125, 190, 245), (130, 120, 200), (95, 200, 170), (230, 60, 60), (250, 190, 40)]
"""Classes of the segmentation, and their colours in RGB."""

RUNS = {
    "detection": ("mask_rcnn_uniformer_s", ShortRun(1, 300, 3e-4, batch_size=1)),
    "segmentation": ("semantic_fpn_uniformer_s_h14", ShortRun(1, 80, 1e-3, batch_size=1)),
    "pose": ("td_hm_uniformer_s_256x192", ShortRun(2, 80, 1e-3, batch_size=2)),
}
"""Config, and length of the training, by task."""


def prepare(photo: Path, folder: Path, factor: int) -> None:
    """Write the dataset of one photo, and a config for each task, of a multiple of the length."""
    content = json.loads(ANNOTATIONS.read_text())
    images, maps = folder / "images", folder / "maps"
    for path in (images, maps):
        path.mkdir(parents=True, exist_ok=True)
    (entry,) = content["images"]
    shutil.copy(photo, images / entry["file_name"])
    shutil.copy(ANNOTATIONS, folder)
    persons = [entry for entry in content["annotations"] if "keypoints" in entry]
    person_content = {**content, "annotations": persons, "categories": content["categories"][:1]}
    (folder / "persons.json").write_text(json.dumps(person_content))
    path = maps / Path(entry["file_name"]).with_suffix(".png")
    cv2.imwrite(str(path), label_map(content, (entry["height"], entry["width"])))
    for name, (base, run) in RUNS.items():
        cfg = load_config(base)
        from_random_weights(cfg)
        ADAPT[name](cfg, folder)
        run = replace(run, iterations=factor * run.iterations)
        shrink_schedule(cfg, run, run.samples)
        cfg.dump(folder / f"{name}.py")


def label_map(content: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    """Indices of `CLASSES`, (H, W): regions from back to front, then the objects."""
    labels = np.full(size, 255, np.uint8)
    names = {entry["id"]: entry["name"] for entry in content["categories"]}
    outlines = [(region["name"], region["polygon"]) for region in content["regions"]]
    for annotation in reversed(content["annotations"]):  # the person stands on the skis
        outlines += [
            (names[annotation["category_id"]], part) for part in annotation["segmentation"]
        ]
    for name, outline in outlines:
        points = np.rint(outline).astype(np.int32).reshape(-1, 2)
        cv2.fillPoly(labels, [points], CLASSES.index(name))
    return labels


def adapt_detection(cfg: Config, folder: Path) -> None:
    """Detect the objects of the photo, unchanged, at 240 pixels of the shorter side."""
    _use_coco_format(cfg, folder, "annotations.json")
    for _, dataset in dataset_configs(cfg):
        scale_sizes(dataset["pipeline"], 0.3)
    _set(cfg.train_dataloader.dataset.pipeline, "RandomFlip", prob=0.0)
    cfg.model.train_cfg.rpn_proposal.update(nms_pre=500, max_per_img=250)
    cfg.model.train_cfg.rcnn.sampler.num = 64
    cfg.model.rpn_head.anchor_generator.ratios = [0.06, 0.5, 1.0, 2.0]  # skis are long and thin


def adapt_segmentation(cfg: Config, folder: Path) -> None:
    """Segment the photo, unchanged, at 384 pixels of the shorter side."""
    for _, dataset in dataset_configs(cfg):
        dataset.update(
            type="BaseSegDataset",
            data_root=str(folder.resolve()),
            data_prefix={"img_path": "images", "seg_map_path": "maps"},
            reduce_zero_label=False,
            img_suffix=".jpg",
            seg_map_suffix=".png",
            metainfo={"classes": CLASSES, "palette": PALETTE},
        )
        scale_sizes(dataset["pipeline"], 0.75)
    pipeline = cfg.train_dataloader.dataset.pipeline
    _set(pipeline, "RandomResize", ratio_range=(1.0, 1.0))
    _set(pipeline, "RandomCrop", crop_size=(384, 640), cat_max_ratio=1.0)
    _set(pipeline, "RandomFlip", prob=0.0)
    pipeline[:] = [step for step in pipeline if step["type"] != "PhotoMetricDistortion"]
    cfg.model.data_preprocessor.size = (384, 640)
    set_num_classes(cfg.model, len(CLASSES))


def adapt_pose(cfg: Config, folder: Path) -> None:
    """Estimate the pose in the annotated box, which varies little."""
    _use_coco_format(cfg, folder, "persons.json")
    pipeline = cfg.train_dataloader.dataset.pipeline
    _set(pipeline, "mmengine.RandomBoxScaleRotation", scale_factor=0.05, rotate_factor=5)
    _set(pipeline, "mmengine.BoxCentreJitter", factor=0.05)
    _set(pipeline, "RandomHalfBody", prob=0.0)


def _set(pipeline: list[dict[str, Any]], transform: str, **options: Any) -> None:
    """Set options of a transform."""
    (step,) = (step for step in pipeline if step["type"] == transform)
    step.update(options)


def _use_coco_format(cfg: Config, folder: Path, file: str) -> None:
    images, annotations = str(folder / "images"), str(folder / file)
    task_of(cfg).use_coco_data(
        cfg,
        {"train": images, "val": images},
        {"train": annotations, "val": annotations},
    )


def draw(folder: Path) -> None:
    """Draw the predictions of the trained models, and the attention of the segmenter."""
    content = json.loads(ANNOTATIONS.read_text())
    photo = cv2.imread(str(folder / "images" / content["images"][0]["file_name"]))
    factor = WIDTH / photo.shape[1]
    image: Image = cv2.resize(photo, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    x, y, width, height = (factor * value for value in content["annotations"][0]["bbox"])
    detector, segmenter, estimator = (_load(folder, name) for name in RUNS)
    detector.threshold = THRESHOLD
    segmenter.meta["palette"] = PALETTE
    person = estimator.predict(image, [[x, y, x + width, y + height]])
    panels = [
        (f"(a) Mask R-CNN, UniFormer-S h14, score ≥ {THRESHOLD}", detector.predict(image).draw()),
        ("(b) Semantic FPN, UniFormer-S h14", segmenter.predict(image).draw_on(image)),
        ("(c) Top-down heatmap, UniFormer-S", person.draw()),
        (f"(d) Attention of the marked token, block {BLOCK} of (b)", attention(segmenter, image)),
    ]
    quality = (cv2.IMWRITE_JPEG_QUALITY, 85)  # below 500 KB
    cv2.imwrite(str(PICTURE), side_by_side(panels, columns=2), quality)


def attention(segmenter: Inferencer, image: Image) -> Image:
    """The attention of one token, mean of all heads, over the model's input."""
    backbone = find_backbone(segmenter.model)
    with FeatureRecorder(backbone, [BLOCK]) as recorder:
        segmenter.predict(image)
    (record,), preprocessor = recorder.records, segmenter.model.data_preprocessor
    order = segmenter.task.channel_order(preprocessor)
    (frame,) = input_frames(recorder.input, preprocessor, order)
    stride = 2 ** (record.stage + 1)
    place = tuple(int(at * len(frame)) // stride for at in reversed(TOKEN))
    weights = token_attention(record, place).weights.mean(0)
    layer = Layer("", (1, stride), place).with_heat("", weights, ".1%")
    return draw_panel(frame, layer, size=WIDTH)


def _load(folder: Path, name: str) -> Inferencer:
    checkpoint = latest_checkpoint(folder / name)
    if checkpoint is None:
        raise UserError(f"{folder / name} has no checkpoint: run the commands of --help")
    return Inferencer(folder / name / f"{name}.py", checkpoint)


ADAPT = {
    "detection": adapt_detection,
    "segmentation": adapt_segmentation,
    "pose": adapt_pose,
}


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    preparing = commands.add_parser("prepare", help="write the dataset and the configs")
    preparing.add_argument("photo", type=Path, metavar="PHOTO")
    preparing.add_argument(
        "--factor", type=int, default=1, help="multiply the iterations, such as 5 on a GPU (1)"
    )
    for command in (preparing, commands.add_parser("draw", help=f"write {PICTURE.name}")):
        command.add_argument("folder", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    if arguments.command == "prepare":
        prepare(arguments.photo, arguments.folder, arguments.factor)
    else:
        draw(arguments.folder)


if __name__ == "__main__":
    run_tool(main)
