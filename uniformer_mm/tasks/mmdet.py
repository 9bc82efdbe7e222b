"""Object detection and instance segmentation on COCO, with mmdet."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.registry import DATASETS
from numpy.typing import NDArray

from uniformer_mm.datasets.media import Image
from uniformer_mm.datasets.overrides import (
    annotation_files,
    dataset_configs,
    evaluators,
    use_coco_data,
)
from uniformer_mm.datasets.synthetic.coco import SyntheticCoco
from uniformer_mm.datasets.synthetic.drawing import PALETTE
from uniformer_mm.datasets.validation.cache import check_once
from uniformer_mm.datasets.validation.instances import Use, check_annotations
from uniformer_mm.datasets.validation.num_classes import type_name
from uniformer_mm.errors import UserError
from uniformer_mm.tasks.short_run import ShortRun, scale_sizes
from uniformer_mm.tasks.task import Task, load_annotations_first, test_pipeline
from uniformer_mm.visualization import Detections

MODEL_SIZE = 192
"""Longer side of the model's synthetic inputs, in pixels: half as many, for two CPU cores."""

SMALLER_MODELS: dict[str, dict[str, Any]] = {
    "Mask2Former": {
        "panoptic_head.num_queries": 30,
        "panoptic_head.pixel_decoder.encoder.num_layers": 2,
        "panoptic_head.transformer_decoder.num_layers": 3,
        "train_cfg.num_points": 1024,
    },
    "DINO": {
        "num_queries": 60,
        "encoder.num_layers": 2,
        "decoder.num_layers": 3,
        "dn_cfg.group_cfg.num_dn_queries": 30,
        "test_cfg.max_per_img": 100,
    },
}
"""Settings for small images with a few objects, by the type of the detector."""

UNSUITED = ("YOLOXHSVRandomAug", "PhotoMetricDistortion")
"""Augmentations that change hues, of which the classes consist."""

COCO_DATASETS = ("CocoDataset", "mmdet.CocoDataset")

COCO_HELP = """\
COCO 2017 is free: https://cocodataset.org/#download (train and val images, annotations; 19 GB),
or, with openmim installed, `mim download mmdet --dataset coco2017`. Expected layout:

{root}/
    annotations/instances_train2017.json, instances_val2017.json
    train2017/*.jpg
    val2017/*.jpg

Your own dataset in COCO's format:    --coco IMAGE_FOLDER TRAIN.json [VAL.json]
YOLO, VOC, CVAT or LabelMe:           --yolo, --voc, --cvat or --labelme FOLDER
Without any data:                     --synthetic"""


class Detection(Task):
    """Mask R-CNN, Cascade Mask R-CNN and other models that mmdet trains on COCO."""

    scope = "mmdet"
    extra = "det"
    synthetic_datasets = ("CocoDataset",)
    synthetic_type = SyntheticCoco
    short_run = ShortRun(samples=256, iterations=260, learning_rate=3e-4)
    short_runs: ClassVar = {
        "RTMDet": ShortRun(samples=256, iterations=320, learning_rate=1e-3, batch_size=4),
        "Mask2Former": ShortRun(samples=256, iterations=700, learning_rate=3e-4, batch_size=4),
        "DINO": ShortRun(samples=256, iterations=700, learning_rate=3e-4, batch_size=4),
    }
    scores = ("coco/bbox_mAP", "coco/segm_mAP")
    published_scores: ClassVar = {
        "box AP": ("coco/bbox_mAP", 100),
        "mask AP": ("coco/segm_mAP", 100),
    }
    takes_coco_data = True
    default_root = "data/coco"
    help_text = COCO_HELP
    prediction_type = Detections

    def adapt_to_synthetic_data(self, cfg: Config, root: Path) -> None:
        """Use its shapes with boxes and masks as COCO instances."""
        use_coco_data(
            cfg,
            images={"train": f"{root}/train2017", "val": f"{root}/val2017"},
            annotations={
                "train": f"{root}/annotations/instances_train2017.json",
                "val": f"{root}/annotations/instances_val2017.json",
            },
            palette=PALETTE,
        )
        _use_last_pipeline(cfg)
        factor = MODEL_SIZE / _longer_side(cfg)
        for _, dataset in dataset_configs(cfg):
            scale_sizes(dataset["pipeline"], factor)
            _ease_training(dataset["pipeline"])
        _shrink_detector(cfg)

    def use_coco_data(
        self, cfg: Config, images: dict[str, str], annotations: dict[str, str]
    ) -> None:
        """Use the categories of the annotations as classes."""
        use_coco_data(cfg, images, annotations)

    def check_data(self, cfg: Config, splits: Sequence[str]) -> None:
        """Check the annotations."""
        for split, dataset, path in annotation_files(cfg, splits):
            if dataset["type"] in COCO_DATASETS:
                check_once(split, path, check_annotations, _use(cfg, split, dataset))

    def keep_ground_truth(self, cfg: Config) -> None:
        """Resize annotations too."""
        load_annotations_first(cfg)

    def draw_ground_truth(
        self, frames: NDArray[np.uint8], sample: Any, meta: Mapping[str, Any]
    ) -> Image:
        """Pad masks like the image, which the data preprocessor does in training alone."""
        instances = sample.get("gt_instances")
        if instances is not None and "masks" in instances:
            instances.masks = instances.masks.pad(frames.shape[1:3])
        return super().draw_ground_truth(frames, sample, meta)

    def draw_samples(self, cfg: Config, folder: Path) -> None:
        """Leave out the many boxes of low score."""
        super().draw_samples(cfg, folder)
        cfg.default_hooks.visualization.threshold = 0.5

    def use_slices(self, cfg: Config, size: int, overlap: float) -> None:
        """Change nothing: each slice is an image, see `uniformer_mm.apis.slicing`.

        Raises:
            UserError: SAHI, which merges their detections, is not installed.
        """
        if find_spec("sahi") is None:
            raise UserError("detection in slices needs SAHI: pip install sahi")

    def use_test_time_augmentation(self, cfg: Config) -> None:
        """Flip unless the config says otherwise; boxes only, since mmdet merges no masks."""
        _without_masks(cfg)
        cfg.setdefault(
            "tta_model",
            ConfigDict(
                type="DetTTAModel",
                tta_cfg={"nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 100},
            ),
        )
        if "tta_pipeline" not in cfg:
            cfg.tta_pipeline = _flip_pipeline(cfg.test_dataloader.dataset.pipeline)
        super().use_test_time_augmentation(cfg)


def _classes(dataset: Mapping[str, Any]) -> Sequence[str] | None:
    """Names of a dataset's classes; None if its config does not hold them."""
    classes = (dataset.get("metainfo") or {}).get("classes")
    if classes is None and (kind := DATASETS.get("mmdet.CocoDataset")):
        classes = kind.METAINFO["classes"]
    return None if isinstance(classes, str) else classes


def _use(cfg: Config, split: str, dataset: Mapping[str, Any]) -> Use:
    """What a dataset takes from its annotation file."""
    classes = _classes(dataset)
    masks = [step for step in dataset.get("pipeline") or () if step.get("with_mask")]
    metrics = [metric.get("metric") or () for name, metric in evaluators(cfg) if name == split]
    filters = {} if dataset.get("test_mode") else dataset.get("filter_cfg") or {}
    indices = dataset.get("indices")
    return Use(
        classes=None if classes is None else tuple(classes),
        masks=bool(masks) or any("segm" in metric for metric in metrics),
        polygons_only=any(not step.get("poly2mask", True) for step in masks),
        evaluated=split != "train",
        min_size=filters.get("min_size", 0),
        filter_empty_gt=bool(filters.get("filter_empty_gt")),
        indices=tuple(indices) if isinstance(indices, Sequence) else indices,
    )


def _use_last_pipeline(cfg: Config) -> None:
    """Train with the pipeline of the last epochs, which is without mosaics, from the start."""
    hooks = cfg.get("custom_hooks") or []
    for hook in [hook for hook in hooks if type_name(hook) == "PipelineSwitchHook"]:
        hooks.remove(hook)
        for split, dataset in dataset_configs(cfg):
            if split == "train":
                dataset["pipeline"] = hook["switch_pipeline"]


def _longer_side(cfg: Config) -> float:
    """Return the longer side of an image of 4:3 after the resizing of the test pipeline."""
    scales = (step.get("scale") for step in test_pipeline(cfg))
    shorter, longer = sorted(next((scale for scale in scales if scale), (1333, 800)))
    return min(longer, shorter * 4 / 3)


def _ease_training(pipeline: list[dict[str, Any]]) -> None:
    """Leave out augmentation that only long runs need; masks with holes have no polygons."""
    pipeline[:] = [step for step in pipeline if step["type"] not in UNSUITED]
    for step in pipeline:
        if step["type"] == "RandomResize":
            step["ratio_range"] = (0.75, 1.25)
        step.pop("poly2mask", None)


def _shrink_detector(cfg: Config) -> None:
    """Reduce proposals, queries, layers and samples: images are small and have a few objects."""
    model = cfg.model
    settings = SMALLER_MODELS.get(type_name(model), {})
    cfg.merge_from_dict({f"model.{name}": value for name, value in settings.items()})
    model.data_preprocessor.pop("batch_augments", None)
    if "rpn_head" not in model:
        return
    model.train_cfg.rpn_proposal.update(nms_pre=500, max_per_img=250)
    model.test_cfg.rpn.update(nms_pre=500, max_per_img=250)
    stages = model.train_cfg.rcnn
    for stage in stages if isinstance(stages, list) else [stages]:
        stage.sampler.num = 32


def _without_masks(cfg: Config) -> None:
    """Test an instance segmenter as a box detector.

    Raises:
        UserError: It predicts boxes and masks by one head.
    """
    metrics = [
        metric
        for split, metric in evaluators(cfg)
        if split == "test" and type_name(metric) == "CocoMetric" and "segm" in metric["metric"]
    ]
    if not metrics:
        return
    roi_head = cfg.model.get("roi_head") or {}
    if roi_head.get("mask_head") is None:
        raise UserError(
            f"--tta: mmdet merges boxes only, and {type_name(cfg.model)} always predicts masks:"
            " test it without --tta"
        )
    print_log("--tta: mmdet merges boxes only, masks are left out", logger="current")
    roi_head.update(mask_head=None, mask_roi_extractor=None)
    for metric in metrics:
        metric["metric"] = ["bbox"]


def _flip_pipeline(pipeline: list[dict]) -> list[dict]:
    pack = dict(pipeline[-1])
    pack["meta_keys"] = (*pack["meta_keys"], "flip", "flip_direction")
    flips = [{"type": "RandomFlip", "prob": probability} for probability in (1.0, 0.0)]
    loading = [step for step in pipeline[:-1] if step["type"] != "LoadAnnotations"]
    annotations = [step for step in pipeline[:-1] if step["type"] == "LoadAnnotations"]
    augment = {"type": "TestTimeAug", "transforms": [flips, annotations, [pack]]}
    if not annotations:
        augment["transforms"] = [flips, [pack]]
    return [*loading, augment]
