"""Human pose estimation on COCO's keypoints, with mmpose."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS
from numpy.typing import NDArray

from uniformer_mm.datasets.media import Image
from uniformer_mm.datasets.overrides import (
    annotation_files,
    dataset_configs,
    evaluators,
    use_coco_files,
)
from uniformer_mm.datasets.synthetic.coco_keypoints import DETECTIONS, SyntheticCocoKeypoints
from uniformer_mm.datasets.synthetic.stick_figures import JOINTS
from uniformer_mm.datasets.validation.keypoint_files import (
    KeypointUse,
    check_boxes,
    check_keypoints,
)
from uniformer_mm.datasets.validation.passed_checks import check_once
from uniformer_mm.errors import UserError
from uniformer_mm.tasks.task import (
    NUM_PICTURES,
    Task,
    from_random_weights,
    shrink_schedule,
)
from uniformer_mm.visualization import People

IMAGE_SIZE = 384
"""Longer side of the drawn images, in pixels."""

CROP = (96, 128)
"""Width and height of what a model sees of a person, in pixels: for two CPU cores."""

STRIDE = 4
"""Pixels of the crop per cell of the heatmaps."""

SIGMA = 2
"""Of the targets, in cells."""

ITERATIONS = 380
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

A set of your own with COCO's 17 joints:   --coco IMAGE_FOLDER TRAIN.json [VAL.json]
Without any data, on drawn images:         --synthetic"""


class Pose(Task):
    """Top-down heatmap models and whatever else mmpose trains on COCO's keypoints."""

    scope = "mmpose"
    extra = "pose"
    synthetic_datasets = ("CocoDataset",)
    default_count = 192
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
    picture_switch = "enable"
    picture_folder = "out_dir"
    prediction_type = People
    output_name = "heatmaps"

    def data_help(self, root: str) -> str:
        """COCO 2017 and the boxes of a detector."""
        return COCO_HELP.format(root=root.rstrip("/") or "data/coco")

    def make_synthetic_data(self, cfg: Config, count: int, folder: Path) -> Path:
        """Drawn people, with boxes as from a detector for testing."""
        synthetic = SyntheticCocoKeypoints(count, max(count // 4, 1), IMAGE_SIZE)
        root = synthetic.make(folder / "coco_keypoints")
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
        from_random_weights(cfg.model)
        counts = (count, self.default_count)
        shrink_schedule(cfg, ITERATIONS, learning_rate=1e-3, counts=counts, batch_size=BATCH_SIZE)
        cfg.val_dataloader.batch_size = cfg.test_dataloader.batch_size = 4 * BATCH_SIZE
        cfg.default_hooks.checkpoint.save_best = None
        return root

    def use_coco_data(
        self, cfg: Config, images: dict[str, str], annotations: dict[str, str]
    ) -> None:
        """People with COCO's 17 joints; tested with annotated boxes."""
        use_coco_files(cfg, images, annotations)
        for _, dataset in dataset_configs(cfg):
            dataset["bbox_file"] = None

    def check_data(self, cfg: Config, splits: Sequence[str]) -> None:
        """The annotations, and the boxes of the detector."""
        for split, dataset, path in annotation_files(cfg, splits):
            if dataset["type"] in COCO_DATASETS and (joints := _joints(dataset)):
                outputs = cfg.model.get("head", {}).get("out_channels")
                # Three maps for each joint where a codec predicts offsets too.
                if isinstance(outputs, int) and outputs not in (len(joints), 3 * len(joints)):
                    raise UserError(
                        f"the dataset for {split} has {len(joints)} joints ({joints[0]}, ...),"
                        f" model.head.out_channels is {outputs}: set it to {len(joints)}, or"
                        " metainfo of the datasets"
                    )
                check_once(split, path, check_keypoints, _use(cfg, split, dataset, joints))
        files = {
            (dataset["bbox_file"], str(Path(dataset.get("data_root") or "", dataset["ann_file"])))
            for split, dataset in dataset_configs(cfg)
            if split in splits and dataset.get("bbox_file")
        }
        for boxes, annotations in files:
            check_boxes(boxes, annotations)

    def draw_predictions(self, cfg: Config, folder: Path | None, show: bool = False) -> None:
        """All people of an image beside the ground truth."""
        super().draw_predictions(cfg, folder, show)
        from uniformer_mm.engine.hooks import pose_pictures  # noqa: F401

        cfg.default_hooks.visualization.type = "mmengine.PosePictureHook"

    def draw_samples(self, cfg: Config, folder: Path) -> None:
        """All boxes of a few images."""
        super().draw_samples(cfg, folder)
        dataset = cfg.test_dataloader.dataset
        boxes = json.loads(Path(dataset.bbox_file).read_text())
        dataset.indices = sum(box["image_id"] <= NUM_PICTURES for box in boxes)

    def keep_truth(self, cfg: Config) -> None:
        """Joints where they are in the crop, not in the image."""
        for _, dataset in dataset_configs(cfg):
            dataset["pipeline"][-1]["pack_transformed"] = True

    def draw_truth(self, frames: NDArray[np.uint8], sample: Any, visualizer: Any) -> Image:
        """The joints of the person in the crop."""
        visualizer.set_dataset_meta(visualizer.dataset_meta)
        return super().draw_truth(frames, sample, visualizer)

    def pipeline_inputs(self, source: Any, meta: Mapping[str, Any]) -> list[dict[str, Any]]:
        """One crop per box of the image; without boxes the image is taken for one person."""
        (image,) = super().pipeline_inputs(source, meta)
        height, width = image["img_shape"]
        whole = np.array([[0, 0, width, height]], np.float32)
        boxes = whole if source.boxes is None else source.boxes
        score = np.ones(1, np.float32)
        return [{**meta, **image, "bbox": box[None], "bbox_score": score} for box in boxes]

    def use_test_time_augmentation(self, cfg: Config) -> None:
        """Flipping, which the published results include."""
        print_log("--tta: flip test, as in the published results", logger="current")
        cfg.model.setdefault("test_cfg", {}).update(flip_test=True)


GENTLE_AUGMENTATION: dict[str, dict[str, float]] = {
    "mmengine.RandomBoxScaleRotation": {"scale_factor": 0.15, "rotate_factor": 10},
    "mmengine.BoxCentreJitter": {"factor": 0.1},
    "RandomHalfBody": {"prob": 0.0},
}
"""A short run has no time for crops that look unlike those of the test."""


def _joints(dataset: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the joints of a dataset; none if its metainfo cannot be read."""
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
    """What a dataset takes from its annotation file."""
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
