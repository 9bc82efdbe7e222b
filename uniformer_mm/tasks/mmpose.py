"""Human pose estimation on COCO's keypoints, with mmpose."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS

from uniformer_mm.datasets.keypoint_meta import keypoint_metainfo, keypoint_names
from uniformer_mm.datasets.overrides import (
    annotation_files,
    dataset_configs,
    evaluators,
    use_coco_files,
)
from uniformer_mm.datasets.synthetic.coco_keypoints import DETECTIONS, SyntheticCocoKeypoints
from uniformer_mm.datasets.synthetic.stick_figures import JOINTS
from uniformer_mm.datasets.validation.cache import check_once
from uniformer_mm.datasets.validation.coco_format import read_categories
from uniformer_mm.datasets.validation.keypoints import (
    KeypointUse,
    check_boxes,
    check_keypoints,
)
from uniformer_mm.datasets.validation.num_classes import class_settings
from uniformer_mm.tasks.short_run import ShortRun
from uniformer_mm.tasks.task import NUM_DRAWN, Task
from uniformer_mm.visualization import Persons

CROP = (96, 128)
"""Width and height of the model's synthetic inputs, in pixels: for two CPU cores."""

STRIDE = 4
"""Pixels of the crop per cell of the heatmaps."""

SIGMA = 2
"""Standard deviation of the targets, in cells."""

SIMCC_SIGMA = 3.0
"""The same for SimCC, in half pixels."""

BATCH_SIZE = 8

COCO_DATASETS = ("CocoDataset", "mmpose.CocoDataset")

COCO_HELP = """\
COCO 2017 with keypoints is free: https://cocodataset.org/#download (train and val images,
annotations; 19 GB). Expected layout:

{root}/
    annotations/person_keypoints_train2017.json, person_keypoints_val2017.json
    train2017/*.jpg
    val2017/*.jpg
    person_detection_results/COCO_val2017_detections_AP_H_56_person.json

The last one has the boxes of a detector with person AP 56 that the published results are for; it is
linked in mmpose's documentation (Datasets, COCO) and in https://github.com/leoxiaobin/
deep-high-resolution-net.pytorch. To test with annotated boxes instead:
    --cfg-options val_dataloader.dataset.bbox_file=None test_dataloader.dataset.bbox_file=None

Your own dataset in COCO's format:    --coco IMAGE_FOLDER TRAIN.json [VAL.json]
YOLO or CVAT:                         --yolo or --cvat FOLDER
Without any data:                     --synthetic"""


class Pose(Task):
    """Top-down heatmap models and other models that mmpose trains on COCO's keypoints."""

    scope = "mmpose"
    extra = "pose"
    synthetic_datasets = ("CocoDataset",)
    synthetic_type = SyntheticCocoKeypoints
    short_run = ShortRun(192, iterations=380, learning_rate=1e-3, batch_size=BATCH_SIZE)
    scores = ("coco/AP", "coco/AP .5", "coco/AP .75", "coco/AR")
    published_scores: ClassVar = {
        "AP": ("coco/AP", 100),
        "AP@0.5": ("coco/AP .5", 100),
        "AP@0.75": ("coco/AP .75", 100),
        "ARM": ("coco/AP (M)", 100),
        "ARL": ("coco/AP (L)", 100),
        "AR": ("coco/AR", 100),
    }
    takes_coco_data = True
    takes_boxes = True
    default_root = "data/coco"
    help_text = COCO_HELP
    prediction_type = Persons
    output_name = "heatmaps"

    def adapt_to_synthetic_data(self, cfg: Config, root: Path) -> None:
        """Use its figures as persons; test with boxes as from a detector."""
        use_coco_files(
            cfg,
            images={"train": f"{root}/train2017", "val": f"{root}/val2017"},
            annotations={
                "train": f"{root}/annotations/person_keypoints_train2017.json",
                "val": f"{root}/annotations/person_keypoints_val2017.json",
            },
        )
        for split, dataset in dataset_configs(cfg):
            dataset["bbox_file"] = None if split == "train" else f"{root}/{DETECTIONS}"
            _shrink_crops(dataset["pipeline"])
        for step in cfg.train_dataloader.dataset.pipeline:
            step.update(GENTLE_AUGMENTATION.get(step["type"], {}))
        _shrink_crops(cfg.model)
        cfg.model.head.deconv_out_channels = (64, 64, 64)
        cfg.val_dataloader.batch_size = cfg.test_dataloader.batch_size = 4 * BATCH_SIZE

    def use_coco_data(
        self, cfg: Config, images: dict[str, str], annotations: dict[str, str]
    ) -> None:
        """Use the keypoints that the annotations name, and test with annotated boxes.

        Other keypoints than those of the config's datasets become metainfo and outputs of the head.
        """
        use_coco_files(cfg, images, annotations)
        names = keypoint_names(read_categories(annotations["train"]))
        metainfo = keypoint_metainfo(annotations["train"])
        for _, dataset in dataset_configs(cfg):
            dataset["bbox_file"] = None
            if metainfo is not None and tuple(names) != _joints(dataset):
                dataset["metainfo"] = metainfo
        if metainfo is not None:
            for setting in class_settings(cfg.model):
                if setting.kind == "keypoints":
                    setting.node[setting.key] = len(names)

    def check_data(self, cfg: Config, splits: Sequence[str]) -> None:
        """Check the annotations, and the boxes of the detector."""
        for split, dataset, path in annotation_files(cfg, splits):
            if dataset["type"] in COCO_DATASETS and (joints := _joints(dataset)):
                check_once(split, path, check_keypoints, _use(cfg, split, dataset, joints))
        files = {
            (dataset["bbox_file"], str(Path(dataset.get("data_root") or "", dataset["ann_file"])))
            for split, dataset in dataset_configs(cfg)
            if split in splits and dataset.get("bbox_file")
        }
        for boxes, annotations in files:
            check_boxes(boxes, annotations)

    def draw_samples(self, cfg: Config, folder: Path) -> None:
        """Draw all boxes of a few images."""
        super().draw_samples(cfg, folder)
        dataset = cfg.test_dataloader.dataset
        boxes = json.loads(Path(dataset.bbox_file).read_text())
        dataset.indices = sum(box["image_id"] <= NUM_DRAWN for box in boxes)

    def keep_ground_truth(self, cfg: Config) -> None:
        """Pack joints in the coordinates of the crop, not of the image."""
        for _, dataset in dataset_configs(cfg):
            dataset["pipeline"][-1]["pack_transformed"] = True

    def pipeline_inputs(self, source: Any, meta: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Crop each box of the image; without boxes the whole image is one person."""
        (image,) = super().pipeline_inputs(source, meta)
        height, width = image["img_shape"]
        whole = np.array([[0, 0, width, height]], np.float32)
        boxes = whole if source.boxes is None else source.boxes
        score = np.ones(1, np.float32)
        return [{**meta, **image, "bbox": box[None], "bbox_score": score} for box in boxes]

    def use_test_time_augmentation(self, cfg: Config) -> None:
        """Flip, as in the published results."""
        print_log("--tta: flip test, as in the published results", logger="current")
        cfg.model.setdefault("test_cfg", {}).update(flip_test=True)


GENTLE_AUGMENTATION: dict[str, dict[str, float]] = {
    "mmengine.RandomBoxScaleRotation": {"scale_factor": 0.15, "rotate_factor": 10},
    "mmengine.BoxCentreJitter": {"factor": 0.1},
    "RandomHalfBody": {"prob": 0.0},
}
"""Settings for a short run, which needs crops like those of the test."""


def _joints(dataset: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a dataset's joints; empty if its metainfo cannot be read."""
    metainfo = dataset.get("metainfo")
    if not metainfo:
        return JOINTS
    try:
        kind: Any = DATASETS.get("mmpose.CocoDataset")
        joints = kind._load_metainfo(dict(metainfo))["keypoint_id2name"]
    except (OSError, AssertionError, LookupError, TypeError, AttributeError):
        return ()  # building the dataset says what is wrong
    return tuple(joints[index] for index in sorted(joints))


def _use(
    cfg: Config, split: str, dataset: Mapping[str, Any], joints: tuple[str, ...]
) -> KeypointUse:
    """Return what a dataset takes from its annotation file."""
    metrics = [str(metric["type"]) for name, metric in evaluators(cfg) if name == split]
    indices = dataset.get("indices")
    return KeypointUse(
        joints=joints,
        fixed_names=joints == JOINTS,
        evaluated=any(metric.endswith("CocoMetric") for metric in metrics),
        from_boxes=bool(dataset.get("bbox_file")),
        bottom_up=dataset.get("data_mode") == "bottomup",
        sample_interval=dataset.get("sample_interval", 1),
        indices=tuple(indices) if isinstance(indices, Sequence) else indices,
    )


def _shrink_crops(config: Any) -> None:
    """Set the size of crops and heatmaps at any depth, and the codec that suits small ones.

    A cell of so small a heatmap is as wide as an eye: joints are coded and decoded within cells
    (DARK, arXiv 1910.06278).
    """
    if isinstance(config, dict):
        if "input_size" in config:
            config["input_size"] = CROP
        if "in_featuremap_size" in config:
            config["in_featuremap_size"] = tuple(side // 32 for side in CROP)
        if config.get("type") == "SimCCLabel":
            config["sigma"] = SIMCC_SIGMA
        if "heatmap_size" in config:
            config["heatmap_size"] = tuple(side // STRIDE for side in CROP)
            config["sigma"] = SIGMA
        if config.get("type") == "MSRAHeatmap":
            config["unbiased"] = True
        for value in config.values():
            _shrink_crops(value)
    elif isinstance(config, list | tuple):
        for value in config:
            _shrink_crops(value)
