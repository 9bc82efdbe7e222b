"""Image classification on ImageNet, with mmpretrain."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from mmengine.config import Config, ConfigDict

from uniformer_mm.datasets.overrides import dataset_configs, set_num_classes
from uniformer_mm.datasets.synthetic.imagenet import CLASSES, SyntheticImagenet
from uniformer_mm.datasets.validation.class_folders import check_class_folders, check_top_k
from uniformer_mm.tasks.short_run import ShortRun, scale_sizes
from uniformer_mm.tasks.task import Task
from uniformer_mm.visualization import ClassScores

MODEL_SIZE = 64
"""Side of the model's synthetic inputs, in pixels."""

BATCH_SIZE = 32

STRONG_AUGMENTATION = ("RandAugment", "AutoAugment", "RandomErasing", "ColorJitter")
"""Augmentations that only long runs need."""

IMAGENET_HELP = """\
ImageNet-1K (ILSVRC 2012) is free for research, with an account: https://image-net.org/download
(150 GB), or, with openmim and an OpenXLab account, `mim download mmpretrain --dataset imagenet1k`.
Expected layout:

{root}/
    train/n01440764/*.JPEG, ...   a folder per class
    val/n01440764/*.JPEG, ...     the same folders
    meta/train.txt, meta/val.txt  optional: lines `n01440764/NAME.JPEG LABEL`

Without any data:    --synthetic"""


class Classification(Task):
    """Models that mmpretrain trains on ImageNet with labels."""

    scope = "mmpretrain"
    extra = "cls"
    synthetic_datasets = ("ImageNet",)
    synthetic_type = SyntheticImagenet
    image_size = 160
    short_run = ShortRun(1024, iterations=380, learning_rate=6e-4, batch_size=BATCH_SIZE)
    scores = ("accuracy/top1", "accuracy/top5")
    published_scores: ClassVar = {"top-1": ("accuracy/top1", 1)}
    prediction_type = ClassScores
    output_name = "logits"
    default_root = "data/imagenet"
    help_text = IMAGENET_HELP

    def adapt_to_synthetic_data(self, cfg: Config, root: Path) -> None:
        """Use its twelve classes in ImageNet's folders."""
        for split, dataset in dataset_configs(cfg):
            source = "train" if split == "train" else "val"
            dataset.update(
                data_root=str(root),
                split=source,
                data_prefix=source,
                ann_file=f"meta/{source}.txt",
                metainfo={"classes": CLASSES},
            )
            dataset["pipeline"] = _shrink_pipeline(dataset["pipeline"])
        set_num_classes(cfg.model, len(CLASSES))
        set_num_classes(cfg.data_preprocessor, len(CLASSES))
        _shrink_classifier(cfg)
        cfg.val_dataloader.batch_size = cfg.test_dataloader.batch_size = BATCH_SIZE

    def check_data(self, cfg: Config, splits: Sequence[str]) -> None:
        """Check the folders of images, their classes, and the labels of lists."""
        check_top_k(cfg, splits)
        check_class_folders(cfg, splits, self.data_help)

    def use_test_time_augmentation(self, cfg: Config) -> None:
        """Flip unless the config says otherwise; the published results have one view."""
        cfg.setdefault("tta_model", ConfigDict(type="AverageClsScoreTTA"))
        if "tta_pipeline" not in cfg:
            *loading, pack = cfg.test_dataloader.dataset.pipeline
            flips = [{"type": "RandomFlip", "prob": probability} for probability in (1.0, 0.0)]
            cfg.tta_pipeline = [*loading, {"type": "TestTimeAug", "transforms": [flips, [pack]]}]
        super().use_test_time_augmentation(cfg)


def _shrink_classifier(cfg: Config) -> None:
    """Switch off what only long runs need."""
    cfg.model.train_cfg = None
    cfg.data_preprocessor.type = "ClsDataPreprocessor"
    cfg.load_from = None
    cfg.custom_hooks = [hook for hook in cfg.get("custom_hooks", []) if hook.type != "EMAHook"]


def _shrink_pipeline(pipeline: Sequence[Any]) -> list[Any]:
    """Resize to `MODEL_SIZE`, leave out strong augmentation, and keep the object in the crop."""
    kept = []
    for step in pipeline:
        if step["type"] in STRONG_AUGMENTATION:
            continue
        if "transforms" in step:
            step["transforms"] = [_shrink_pipeline(branch) for branch in step["transforms"]]
        if step["type"] == "RandomResizedCrop":
            step.update(crop_ratio_range=(0.8, 1.0), aspect_ratio_range=(0.9, 1.1))
            scale_sizes(step, MODEL_SIZE / step["scale"])
        kept.append(step)
    for crop in [step for step in kept if step["type"] == "CenterCrop"]:
        scale_sizes(kept, MODEL_SIZE / crop["crop_size"])
    return kept
