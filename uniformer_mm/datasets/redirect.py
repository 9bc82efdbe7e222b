"""Point the datasets of a config somewhere else, and say what is missing where they point."""

from collections.abc import Iterator, Sequence
from os.path import join
from pathlib import Path
from typing import Any

from mmengine.config import Config

from uniformer_mm.datasets.coco_files import category_names, read_categories
from uniformer_mm.errors import UserError

SPLITS = ("train", "val", "test")


def dataset_configs(cfg: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every dataset of a config with its split, inside whatever wrapper (RepeatDataset ...)."""
    for split in SPLITS:
        loader = cfg.get(f"{split}_dataloader")
        if loader:
            for dataset in _leaf_datasets(loader["dataset"]):
                yield split, dataset


def evaluators(cfg: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every metric of a config with its split."""
    for split in SPLITS[1:]:
        metrics = cfg.get(f"{split}_evaluator")
        if metrics:
            for metric in metrics if isinstance(metrics, Sequence) else [metrics]:
                yield split, metric


def use_coco_data(
    cfg: Config,
    images: dict[str, str],
    annotations: dict[str, str],
    palette: Sequence[tuple[int, int, int]] | None = None,
) -> None:
    """Train, validate and test a detection config on other data in COCO's format.

    The classes are the categories of the training annotations; every head of the model gets as
    many outputs.

    Args:
        cfg: Changed in place.
        images: Folder of images for 'train' and 'val'; testing uses 'val'.
        annotations: Instance annotation file for 'train' and 'val'.
        palette: RGB colour of each class for pictures; distinct ones by default.

    Raises:
        UserError: A file or folder does not exist, or holds no COCO annotations.
    """
    classes = coco_classes(annotations["train"])
    if coco_classes(annotations["val"]) != classes:
        raise UserError(
            f"{annotations['train']} and {annotations['val']} have different categories:"
            " list the same categories in both files, in the same order"
        )
    metainfo: dict[str, Any] = {"classes": classes}
    if palette is not None:
        metainfo["palette"] = [tuple(colour) for colour in palette]
    elif cfg.get("default_scope") == "mmdet":
        metainfo["palette"] = distinct_colours(len(classes))
    use_coco_files(cfg, images, annotations)
    for _, dataset in dataset_configs(cfg):
        dataset["metainfo"] = metainfo
    set_num_classes(cfg.model, len(classes))


def use_coco_files(cfg: Config, images: dict[str, str], annotations: dict[str, str]) -> None:
    """Point the datasets and metrics of a config at other files; the rest stays as it is.

    Args:
        cfg: Changed in place.
        images: Folder of images for 'train' and 'val'; testing uses 'val'.
        annotations: Annotation file for 'train' and 'val'.

    Raises:
        UserError: A folder does not exist.
    """
    for split, dataset in dataset_configs(cfg):
        source = "train" if split == "train" else "val"
        if not Path(images[source]).is_dir():
            raise UserError(f"no image folder {images[source]}")
        dataset.update(
            data_root="",
            ann_file=str(annotations[source]),
            data_prefix={"img": str(images[source]).rstrip("/") + "/"},
        )
    for _, metric in evaluators(cfg):
        metric["ann_file"] = str(annotations["val"])


def coco_classes(annotation_file: str) -> tuple[str, ...]:
    """Names of the categories of a COCO annotation file, in its order.

    Raises:
        UserError: There is no such file, or it is not in COCO's format.
    """
    return category_names(annotation_file, read_categories(annotation_file))


def set_num_classes(model: Any, num_classes: int) -> None:
    """Set the class count of every head of a model config."""
    if isinstance(model, dict):
        if "num_classes" in model:
            model["num_classes"] = num_classes
        for value in model.values():
            set_num_classes(value, num_classes)
    elif isinstance(model, list | tuple):
        for value in model:
            set_num_classes(value, num_classes)


def class_counts(model: Any) -> list[int]:
    """Every `num_classes` in a model's config."""
    if isinstance(model, dict):
        inner = [count for value in model.values() for count in class_counts(value)]
        count = model.get("num_classes")
        return [count, *inner] if isinstance(count, int) else inner
    if isinstance(model, list | tuple):
        return [count for value in model for count in class_counts(value)]
    return []


def annotation_files(
    cfg: Config, splits: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Every dataset of some splits with annotations on a disk: split, its config, file."""
    for split, dataset in dataset_configs(cfg):
        file = dataset.get("ann_file")
        path = join(dataset.get("data_root") or "", file or "")
        if split in splits and file and "://" not in path:
            yield split, dataset, path


def missing_data(cfg: Config, splits: Sequence[str]) -> tuple[str, list[Path]]:
    """The data root of some splits, and those of their files and folders that do not exist."""
    missing: list[Path] = []
    root = ""
    for split, dataset in dataset_configs(cfg):
        if split not in splits:
            continue
        root = dataset.get("data_root") or root
        prefixes = dataset.get("data_prefix") or {}
        prefixes = prefixes.values() if isinstance(prefixes, dict) else [prefixes]
        inside = (dataset.get("ann_file"), *prefixes)
        names = [join(dataset.get("data_root") or "", name) for name in inside if name]
        names.append(dataset.get("bbox_file") or "")  # mmpose takes it as it is
        for name in names:
            if name and "://" not in name and not Path(name).exists() and Path(name) not in missing:
                missing.append(Path(name))
    return root, missing


def distinct_colours(count: int) -> list[tuple[int, int, int]]:
    """RGB colours with evenly spread hues."""
    import colorsys

    hues = (index * 0.618034 % 1.0 for index in range(count))
    colours = (colorsys.hsv_to_rgb(hue, 0.75, 0.95) for hue in hues)
    return [(round(r * 255), round(g * 255), round(b * 255)) for r, g, b in colours]


def _leaf_datasets(dataset: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "dataset" in dataset:
        yield from _leaf_datasets(dataset["dataset"])
    elif "datasets" in dataset:
        for part in dataset["datasets"]:
            yield from _leaf_datasets(part)
    else:
        yield dataset
