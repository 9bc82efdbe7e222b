"""Image classification on ImageNet, with mmpretrain."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.fileio import list_from_file
from numpy.typing import NDArray

from uniformer_mm.datasets.media import Image
from uniformer_mm.datasets.overrides import dataset_configs, evaluators, set_num_classes
from uniformer_mm.datasets.synthetic.imagenet import CLASSES, SyntheticImagenet
from uniformer_mm.errors import UserError
from uniformer_mm.tasks.task import (
    Task,
    from_random_weights,
    scale_sizes,
    shrink_schedule,
)
from uniformer_mm.visualization import ClassScores
from uniformer_mm.visualization.class_scores import shares_of, under_labels

IMAGE_SIZE = 160
"""Longer side of the drawn images, in pixels."""

MODEL_SIZE = 64
"""Side of the square that a model sees of them, in pixels."""

ITERATIONS = 380
BATCH_SIZE = 32

STRONG_AUGMENTATION = ("RandAugment", "AutoAugment", "RandomErasing", "ColorJitter")
"""What only pays in long runs."""

FOLDER_DATASETS = ("ImageNet", "CustomDataset")
"""Datasets of mmpretrain with a folder per class, or an annotation file."""

CODE = re.compile(r"n?\d+")
"""Names of folders that stand for classes of other names, such as WordNet's."""

SHOWN = 5
"""Class folders that an error lists."""

OTHER_CLASSES = (
    "set num_classes of model.head and of data_preprocessor, and metainfo=dict(classes=[...]) of"
    " the datasets"
)
"""How to have other classes than ImageNet's."""

IMAGENET_HELP = """\
ImageNet-1K (ILSVRC 2012) is free for research, with an account: https://image-net.org/download
(150 GB), or, with openmim and an OpenXLab account, `mim download mmpretrain --dataset imagenet1k`.
Expected layout:

{root}/
    train/n01440764/*.JPEG, ...   a folder per class
    val/n01440764/*.JPEG, ...     the same folders
    meta/train.txt, meta/val.txt  optional: lines `n01440764/NAME.JPEG LABEL`

Without any data, on drawn images:    --synthetic"""


class Classification(Task):
    """Whatever mmpretrain trains on ImageNet with labels."""

    scope = "mmpretrain"
    extra = "cls"
    synthetic_datasets = ("ImageNet",)
    default_count = 1024
    scores = ("accuracy/top1", "accuracy/top5")
    published_scores: ClassVar = {"top-1": ("accuracy/top1", 1)}
    picture_switch = "enable"
    picture_folder = "out_dir"
    prediction_type = ClassScores
    output_name = "logits"

    def data_help(self, root: str) -> str:
        """ImageNet-1K."""
        return IMAGENET_HELP.format(root=root.rstrip("/") or "data/imagenet")

    def make_synthetic_data(self, cfg: Config, count: int, folder: Path) -> Path:
        """Drawn objects of twelve classes, in ImageNet's folders."""
        synthetic = SyntheticImagenet(count, max(count // 4, 1), IMAGE_SIZE)
        root = synthetic.make(folder / "imagenet")
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
        counts = (count, self.default_count)
        shrink_schedule(cfg, ITERATIONS, learning_rate=6e-4, counts=counts, batch_size=BATCH_SIZE)
        cfg.val_dataloader.batch_size = cfg.test_dataloader.batch_size = BATCH_SIZE
        return root

    def check_data(self, cfg: Config, splits: Sequence[str]) -> None:
        """The folders of images, how many classes they have, and the labels of lists."""
        num_classes = cfg.model.get("head", {}).get("num_classes")
        if num_classes is not None:
            _check_top_k(cfg, splits, num_classes)
        trained: Path | None = None
        for split, dataset in dataset_configs(cfg):
            if dataset["type"] not in FOLDER_DATASETS:
                continue
            folder, listing = _places(dataset)
            if split == "train" and folder.is_dir() and not listing.is_file():
                trained = folder
            if split not in splits:
                continue
            if not folder.is_dir():
                root = str(dataset.get("data_root") or "")
                raise UserError(f"the dataset is missing:\n    {folder}\n{self.data_help(root)}")
            if num_classes is None or dataset.get("split") == "test":
                continue
            if listing.is_file():
                _check_labels(listing, num_classes)
            else:
                _check_folders(folder, dataset, num_classes, trained or folder)

    def draw_truth(self, frames: NDArray[np.uint8], sample: Any, visualizer: Any) -> Image:
        """The image under its class, or its classes and their shares."""
        if "gt_score" in sample:
            shares = shares_of(sample.gt_score)
        else:
            shares = dict.fromkeys(sample.get("gt_label").tolist(), 1.0)
        return under_labels(frames[0], shares, visualizer.dataset_meta)

    def use_test_time_augmentation(self, cfg: Config) -> None:
        """Flipping unless the config says otherwise; the published results have one view."""
        cfg.setdefault("tta_model", ConfigDict(type="AverageClsScoreTTA"))
        if "tta_pipeline" not in cfg:
            *loading, pack = cfg.test_dataloader.dataset.pipeline
            flips = [{"type": "RandomFlip", "prob": probability} for probability in (1.0, 0.0)]
            cfg.tta_pipeline = [*loading, {"type": "TestTimeAug", "transforms": [flips, [pack]]}]
        super().use_test_time_augmentation(cfg)


def _shrink_classifier(cfg: Config) -> None:
    """Random weights, and nothing that only pays in long runs."""
    from_random_weights(cfg.model)
    cfg.model.train_cfg = None
    cfg.data_preprocessor.type = "ClsDataPreprocessor"
    cfg.load_from = None
    cfg.custom_hooks = [hook for hook in cfg.get("custom_hooks", []) if hook.type != "EMAHook"]
    cfg.default_hooks.checkpoint.save_best = None


def _shrink_pipeline(pipeline: Sequence[Any]) -> list[Any]:
    """Images of `MODEL_SIZE`, mild augmentation, and the object left in the crop."""
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


def _check_labels(listing: Path, num_classes: int) -> None:
    """Look for labels that are no class of the model.

    mmpretrain counts their images as wrongly classified, and training on them ends in an assertion
    that does not name them.
    """
    with listing.open() as lines:
        for number, line in enumerate(lines, 1):
            label = line.strip().rpartition(" ")[-1]
            if not label.isdecimal() or int(label) >= num_classes:
                raise UserError(
                    f"{listing}, line {number}: label {label!r}, but the model's classes are 0 to"
                    f" {num_classes - 1}. Correct it, or {OTHER_CLASSES}"
                )


def _check_top_k(cfg: Config, splits: Sequence[str], num_classes: int) -> None:
    """Look for accuracies among more classes than there are, which fail after the first epoch."""
    for split, metric in evaluators(cfg):
        most = max(np.atleast_1d(metric.get("topk", 1)), default=1)
        if split in splits and metric["type"] == "Accuracy" and most > num_classes:
            raise UserError(
                f"top-{most} accuracy of {num_classes} classes: set {split}_evaluator.topk=(1,)"
            )


def _places(dataset: dict[str, Any]) -> tuple[Path, Path]:
    """The folder of a dataset's images, and its list, which may not exist."""
    root = Path(dataset.get("data_root") or "")
    prefix = dataset.get("data_prefix") or dataset.get("split") or ""
    folder = root / (prefix["img_path"] if isinstance(prefix, dict) else prefix)
    return folder, root / (dataset.get("ann_file") or f"meta/{dataset.get('split')}.txt")


def _class_folders(folder: Path) -> list[str]:
    """Names of the folders that mmpretrain takes for classes, in its order."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def _check_folders(folder: Path, dataset: dict[str, Any], num_classes: int, trained: Path) -> None:
    """Compare class folders with those of training, and with the classes of data and model.

    Classes are numbered by the folders' names, in each split by itself.
    """
    found = _class_folders(folder)
    _compare(f"{folder} has", found, f"{trained} has", _class_folders(trained))
    names = (dataset.get("metainfo") or {}).get("classes") or dataset.get("classes")
    if isinstance(names, str):
        names = list_from_file(names)
    expected = len(names) if names else 1000 if dataset["type"] == "ImageNet" else len(found)
    if names and not all(map(CODE.fullmatch, found)):
        _compare(f"{folder} has", found, "the dataset's config names", list(names))
        if list(names) != found:
            raise UserError(
                f"{folder}: classes are numbered in the order of the folders' names; give the"
                f" classes of the dataset's config in the same order: {tuple(found)}"
            )
    elif names and all(map(str.isdecimal, found)) and found != sorted(found, key=int):
        raise UserError(
            f"{folder}: the order of the folders' names as words, {', '.join(found[:4])} ..., is"
            " not that of their numbers: the dataset's names of classes would go to others. Name"
            " the folders with leading zeros"
        )
    if not len(found) == expected <= num_classes:
        raise UserError(
            f"{folder} has {len(found)} class folders, but the dataset's config {expected} classes"
            f" and the model {num_classes}. Complete the folders, or {OTHER_CLASSES}"
        )


def _compare(who: str, found: Sequence[str], other: str, expected: Sequence[str]) -> None:
    """Look for class folders that are in one of two lists only.

    Raises:
        UserError: There are some.
    """
    facts = [
        f"{subject} {', '.join(map(repr, differing[:SHOWN]))}{' ...' * (len(differing) > SHOWN)}"
        for subject, differing in (
            (who, [name for name in found if name not in set(expected)]),
            (other, [name for name in expected if name not in set(found)]),
        )
        if differing
    ]
    if facts:
        raise UserError(
            f"class folders differ: {'; '.join(facts)}, which is not in the other. Rename or remove"
            " folders (a class without images may have an empty one), or correct `classes`"
        )
