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

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config

from uniformer_mm.apis.config import load_config
from uniformer_mm.datasets.overrides import dataset_configs, set_num_classes
from uniformer_mm.tasks import task_of
from uniformer_mm.tasks.short_run import ShortRun, from_random_weights, scale_sizes, shrink_schedule

FOLDER = Path(__file__).resolve().parent
ANNOTATIONS = FOLDER / "annotations.json"

CLASSES = ("sky", "mountain", "snow", "person", "ski")
PALETTE = [(125, 190, 245), (130, 120, 200), (205, 220, 230), (230, 60, 60), (250, 190, 40)]
"""Classes of the segmentation, and their colours in RGB."""

RUNS = {
    "detection": ("mask_rcnn_uniformer_s", ShortRun(1, 240, 3e-4, batch_size=1)),
    "segmentation": ("semantic_fpn_uniformer_s_h14", ShortRun(1, 80, 1e-3, batch_size=1)),
    "pose": ("td_hm_uniformer_s_256x192", ShortRun(2, 100, 1e-3, batch_size=2)),
}
"""Config, and length of the training, by task."""


def prepare(photo: Path, folder: Path) -> None:
    """Write the dataset of one photo, and a config for each task."""
    content = json.loads(ANNOTATIONS.read_text())
    images, maps = folder / "images", folder / "maps"
    for path in (images, maps):
        path.mkdir(parents=True, exist_ok=True)
    (entry,) = content["images"]
    shutil.copy(photo, images / entry["file_name"])
    shutil.copy(ANNOTATIONS, folder)
    path = maps / Path(entry["file_name"]).with_suffix(".png")
    cv2.imwrite(str(path), label_map(content, (entry["height"], entry["width"])))
    for name, (base, run) in RUNS.items():
        cfg = load_config(base)
        from_random_weights(cfg.model)
        ADAPT[name](cfg, folder)
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
    _use_coco_format(cfg, folder)
    for _, dataset in dataset_configs(cfg):
        scale_sizes(dataset["pipeline"], 0.3)
    _set(cfg.train_dataloader.dataset.pipeline, "RandomFlip", prob=0.0)
    cfg.model.train_cfg.rpn_proposal.update(nms_pre=500, max_per_img=250)
    cfg.model.train_cfg.rcnn.sampler.num = 64


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
    _use_coco_format(cfg, folder)
    pipeline = cfg.train_dataloader.dataset.pipeline
    _set(pipeline, "mmengine.RandomBoxScaleRotation", scale_factor=0.05, rotate_factor=5)
    _set(pipeline, "mmengine.BoxCentreJitter", factor=0.05)
    _set(pipeline, "RandomHalfBody", prob=0.0)


def _set(pipeline: list[dict[str, Any]], transform: str, **options: Any) -> None:
    """Set options of a transform."""
    (step,) = (step for step in pipeline if step["type"] == transform)
    step.update(options)


def _use_coco_format(cfg: Config, folder: Path) -> None:
    images, annotations = str(folder / "images"), str(folder / "annotations.json")
    task_of(cfg).use_coco_data(
        cfg,
        {"train": images, "val": images},
        {"train": annotations, "val": annotations},
    )


ADAPT = {
    "detection": adapt_detection,
    "segmentation": adapt_segmentation,
    "pose": adapt_pose,
}
