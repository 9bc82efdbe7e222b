"""Semantic segmentation on ADE20K, with mmseg."""

from collections.abc import Sequence
from os.path import join
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine.config import Config
from numpy.typing import NDArray
from torch import Tensor

from uniformer_mm.datasets.media import Image
from uniformer_mm.datasets.overrides import dataset_configs, set_num_classes
from uniformer_mm.datasets.synthetic.ade20k import CLASSES, PALETTE, SyntheticAde20k
from uniformer_mm.datasets.validation.label_maps import (
    warn_of_absent_classes,
    warn_of_other_ignored_label,
)
from uniformer_mm.errors import UserError
from uniformer_mm.tasks.task import (
    Task,
    from_random_weights,
    scale_sizes,
    shrink_schedule,
)
from uniformer_mm.visualization import LabelMap
from uniformer_mm.visualization.prediction import as_array

IMAGE_SIZE = 384
"""Longer side of the drawn images, in pixels."""

MODEL_SIZE = 192
"""Shorter side of what a model sees of them, in pixels: windows of 14 occur along the longer."""

CROP_SIZE = 128
"""Side of the training crops, in pixels: for two CPU cores."""

ITERATIONS = 360

MAX_HEAD_CHANNELS = 128

ADE20K_HELP = """\
ADE20K (SceneParsing) is free, 1 GB: http://sceneparsing.csail.mit.edu, ADEChallengeData2016.zip.
Expected layout:

{root}/
    images/training/*.jpg       annotations/training/*.png
    images/validation/*.jpg     annotations/validation/*.png

A set of your own in this layout, with class indices from 0 and 255 for unlabelled pixels:

    metainfo = dict(classes=("road", "house"), palette=[[128, 64, 128], [70, 70, 70]])
    dataset = dict(type="BaseSegDataset", data_root="ROOT", metainfo=metainfo)

in the three dataloaders of a config, and num_classes of its heads.
Without any data, on drawn images:    --synthetic"""


class Segmentation(Task):
    """UperNet, Semantic FPN and whatever else mmseg trains on ADE20K."""

    scope = "mmseg"
    extra = "seg"
    synthetic_datasets = ("ADE20KDataset",)
    default_count = 256
    scores = ("mIoU", "mAcc", "aAcc")
    published_scores: ClassVar = {"mIoU": ("mIoU", 1)}
    picture_switch = "draw"
    picture_folder = "out_dir"
    prediction_type = LabelMap
    output_name = "logits"

    def raw_outputs(self, model: Any, inputs: Tensor) -> Tensor:
        """Logits of the classes, (B, classes, H, W) for inputs (B, C, H, W)."""
        return model.encode_decode(inputs, [{"img_shape": inputs.shape[-2:]}])

    def data_help(self, root: str) -> str:
        """ADE20K."""
        return ADE20K_HELP.format(root=root.rstrip("/") or "data/ade/ADEChallengeData2016")

    def check_data(self, cfg: Config, splits: Sequence[str]) -> None:
        """Look for images, and for classes that never occur in the label maps.

        Where there are no images, mmseg waits for the first one forever.

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

    def make_synthetic_data(self, cfg: Config, count: int, folder: Path) -> Path:
        """Drawn scenes with a class for each pixel."""
        synthetic = SyntheticAde20k(count, max(count // 4, 1), IMAGE_SIZE)
        root = synthetic.make(folder / "ade20k")
        metainfo = {"classes": CLASSES, "palette": [list(colour) for colour in PALETTE]}
        for _, dataset in dataset_configs(cfg):
            # ADE20KDataset itself takes no other classes than its own; the folders are the same.
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
        _shrink_segmentor(cfg.model)
        counts = (count, self.default_count)
        shrink_schedule(cfg, ITERATIONS, learning_rate=2e-3, counts=counts, batch_size=4)
        return root

    def draw_predictions(self, cfg: Config, folder: Path | None, show: bool = False) -> None:
        """Classes over the image, beside the ground truth."""
        super().draw_predictions(cfg, folder, show)
        # mmseg's own hook knows no folder.
        from uniformer_mm.engine.hooks import segmentation_pictures  # noqa: F401

        cfg.default_hooks.visualization.type = "SegmentationPicturesHook"

    def draw_truth(self, frames: NDArray[np.uint8], sample: Any, visualizer: Any) -> Image:
        """Classes over the image, above a legend."""
        from uniformer_mm.engine.hooks.segmentation_pictures import paint

        meta = visualizer.dataset_meta
        labels = as_array(sample.gt_sem_seg.data).squeeze()
        return paint(frames[0], [labels], meta["classes"], meta["palette"], visualizer.alpha)


def _ease_training(pipeline: list[dict[str, Any]]) -> None:
    """Small crops, and little augmentation: it pays in long runs only."""
    pipeline[:] = [step for step in pipeline if step["type"] != "PhotoMetricDistortion"]
    for step in pipeline:
        if step["type"] == "RandomResize":
            step["ratio_range"] = (0.75, 1.25)
        elif step["type"] == "RandomCrop":
            step["crop_size"] = (CROP_SIZE, CROP_SIZE)


def _shrink_segmentor(model: Any) -> None:
    """Random weights; narrow heads, which have most of UperNet's multiplications."""
    from_random_weights(model)
    for name in ("decode_head", "auxiliary_head"):
        if name in model:
            model[name].channels = min(model[name].channels, MAX_HEAD_CHANNELS)
