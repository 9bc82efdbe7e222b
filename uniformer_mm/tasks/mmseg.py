"""Semantic segmentation on ADE20K, with mmseg."""

from collections.abc import Sequence
from os.path import join
from pathlib import Path
from typing import Any, ClassVar

from mmengine.config import Config
from torch import Tensor

from uniformer_mm.datasets.overrides import dataset_configs, set_num_classes
from uniformer_mm.datasets.synthetic.ade20k import CLASSES, PALETTE, SyntheticAde20k
from uniformer_mm.datasets.validation.label_maps import (
    warn_of_absent_classes,
    warn_of_other_ignored_label,
)
from uniformer_mm.datasets.validation.num_classes import type_name
from uniformer_mm.errors import UserError
from uniformer_mm.tasks.short_run import ShortRun, scale_sizes
from uniformer_mm.tasks.task import Task, load_annotations_first, step_name
from uniformer_mm.visualization import LabelMap

MODEL_SIZE = 192
"""Shorter side of the model's synthetic inputs, in pixels: longer than the windows of 14 tokens."""

CROP_SIZE = 128
"""Side of the training crops, in pixels: for two CPU cores."""

MAX_HEAD_CHANNELS = 128

FEWER_QUERIES = {
    "num_queries": 30,
    "pixel_decoder.encoder.num_layers": 2,
    "transformer_decoder.num_layers": 3,
    "train_cfg.num_points": 1024,
}
"""Settings of Mask2Former's head for small images of a few classes."""

ADE20K_HELP = """\
ADE20K (SceneParsing) is free, 1 GB: http://sceneparsing.csail.mit.edu, ADEChallengeData2016.zip.
Expected layout:

{root}/
    images/training/*.jpg       annotations/training/*.png
    images/validation/*.jpg     annotations/validation/*.png

Your own dataset in this layout, with class indices from 0 and 255 for unlabelled pixels:

    metainfo = dict(classes=("road", "house"), palette=[[128, 64, 128], [70, 70, 70]])
    dataset = dict(type="BaseSegDataset", data_root="ROOT", metainfo=metainfo)

in the three dataloaders of a config, and num_classes of its heads.
Without any data:                     --synthetic"""


class Segmentation(Task):
    """UperNet, Semantic FPN and other models that mmseg trains on ADE20K."""

    scope = "mmseg"
    extra = "seg"
    synthetic_datasets = ("ADE20KDataset",)
    synthetic_type = SyntheticAde20k
    short_run = ShortRun(samples=256, iterations=360, learning_rate=2e-3, batch_size=4)
    short_runs: ClassVar = {
        "Mask2FormerHead": ShortRun(256, iterations=700, learning_rate=3e-4, batch_size=4)
    }
    scores = ("mIoU", "mAcc", "aAcc")
    published_scores: ClassVar = {"mIoU": ("mIoU", 1)}
    prediction_type = LabelMap
    output_name = "logits"
    default_root = "data/ade/ADEChallengeData2016"
    help_text = ADE20K_HELP

    def raw_outputs(self, model: Any, inputs: Tensor) -> Tensor:
        """Return logits of the classes, (B, classes, H, W) for inputs (B, C, H, W)."""
        return model.encode_decode(inputs, [{"img_shape": inputs.shape[-2:]}])

    def keep_ground_truth(self, cfg: Config) -> None:
        """Resize label maps too."""
        load_annotations_first(cfg)

    def check_data(self, cfg: Config, splits: Sequence[str]) -> None:
        """Check that there are images, and that every class occurs in the label maps.

        Without images, mmseg waits for the first one forever.

        Raises:
            UserError: A folder has no images.
        """
        for split, dataset in dataset_configs(cfg):
            prefix = (dataset.get("data_prefix") or {}).get("img_path") or ""
            folder = join(dataset.get("data_root") or "", prefix)
            suffix = dataset.get("img_suffix", ".jpg")
            is_listed = split in splits and not dataset.get("ann_file") and "://" not in folder
            if is_listed and not any(Path(folder).rglob(f"*{suffix}")):
                raise UserError(
                    f"no image *{suffix} in {folder}: put some there, or set data_prefix.img_path"
                    f" or img_suffix of the dataset for {split}"
                )
        warn_of_absent_classes(cfg, splits)
        warn_of_other_ignored_label(cfg)

    def use_slices(self, cfg: Config, size: int, overlap: float) -> None:
        """Use mmseg's sliding window on images at their own size."""
        stride = max(round(size * (1 - overlap)), 1)
        cfg.model.test_cfg = {
            "mode": "slide",
            "crop_size": (size, size),
            "stride": (stride, stride),
        }
        for split, dataset in dataset_configs(cfg):
            if split == "test":
                steps = dataset["pipeline"]
                dataset["pipeline"] = [step for step in steps if step_name(step) != "Resize"]

    def adapt_to_synthetic_data(self, cfg: Config, root: Path) -> None:
        """Use its scenes in ADE20K's folders."""
        metainfo = {"classes": CLASSES, "palette": [list(colour) for colour in PALETTE]}
        for _, dataset in dataset_configs(cfg):
            # ADE20KDataset takes no other classes than its own; the folders are the same.
            dataset.update(
                type="BaseSegDataset",
                data_root=str(root),
                reduce_zero_label=True,
                metainfo=metainfo,
            )
            scale_sizes(dataset["pipeline"], MODEL_SIZE / 512)
            _ease_training(dataset["pipeline"])
        scale_sizes(cfg.get("tta_pipeline"), MODEL_SIZE / 512)
        cfg.model.data_preprocessor.size = (CROP_SIZE, CROP_SIZE)
        set_num_classes(cfg.model, len(CLASSES))
        _shrink_segmentor(cfg)


def _ease_training(pipeline: list[dict[str, Any]]) -> None:
    """Crop small images, and leave out augmentation that only long runs need."""
    pipeline[:] = [step for step in pipeline if step["type"] != "PhotoMetricDistortion"]
    for step in pipeline:
        if step["type"] == "RandomResize":
            step["ratio_range"] = (0.75, 1.25)
        elif step["type"] == "RandomChoiceResize":
            step["scales"] = [MODEL_SIZE * share // 4 for share in (3, 4, 5)]
        elif step["type"] == "RandomCrop":
            step["crop_size"] = (CROP_SIZE, CROP_SIZE)


def _shrink_segmentor(cfg: Config) -> None:
    """Narrow the heads, which have most of UperNet's multiplications, or use fewer queries."""
    for name in ("decode_head", "auxiliary_head"):
        head = cfg.model.get(name, {})
        if "channels" in head:
            head.channels = min(head.channels, MAX_HEAD_CHANNELS)
    if type_name(cfg.model.decode_head) == "Mask2FormerHead":
        settings = {f"model.decode_head.{key}": value for key, value in FEWER_QUERIES.items()}
        cfg.merge_from_dict(settings)
