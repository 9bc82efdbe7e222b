"""Find the datasets in a config, and point them to other data."""

from collections.abc import Iterator, Sequence
from os.path import join
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from uniformer_mm.datasets.validation.coco_format import category_names, read_categories, read_coco
from uniformer_mm.datasets.validation.num_classes import set_num_classes, type_name
from uniformer_mm.errors import UserError

SPLITS = ("train", "val", "test")

COCO_SETTINGS = ("pipeline", "filter_cfg", "test_mode", "indices", "backend_args")
"""Settings of a dataset that are kept when it becomes a CocoDataset."""


def dataset_configs(cfg: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every dataset of a config with its split, also inside wrappers (RepeatDataset ...)."""
    for split in SPLITS:
        loader = cfg.get(f"{split}_dataloader")
        if loader:
            for dataset in _leaf_datasets(loader["dataset"]):
                yield split, dataset


def evaluators(cfg: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every metric of a config with its split."""
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
        palette: RGB colour of each class for visualization; distinct ones by default.

    Raises:
        UserError: A file or folder does not exist or is not in COCO format, or the config's
            datasets have no boxes.
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
    things = classes
    if any(type_name(dataset) == "CocoPanopticDataset" for _, dataset in dataset_configs(cfg)):
        things, stuff = _panoptic_classes(annotations["train"])
        metainfo.update(thing_classes=things, stuff_classes=stuff)
    elif cfg.get("default_scope") == "mmdet":
        _leave_out_semantic_maps(cfg)
    for _, dataset in dataset_configs(cfg):
        dataset["metainfo"] = metainfo
    set_num_classes(cfg.model, len(things), len(classes) - len(things))


def use_coco_files(cfg: Config, images: dict[str, str], annotations: dict[str, str]) -> None:
    """Point the datasets and metrics of a config to other files.

    Args:
        cfg: Changed in place.
        images: Folder of images for 'train' and 'val'; testing uses 'val'.
        annotations: Annotation file for 'train' and 'val'.

    Raises:
        UserError: A folder does not exist, or the datasets have no boxes.
    """
    for split in SPLITS:
        if loader := cfg.get(f"{split}_dataloader"):
            loader["dataset"] = _without_concatenation(loader["dataset"])
    for split, dataset in dataset_configs(cfg):
        source = "train" if split == "train" else "val"
        if not Path(images[source]).is_dir():
            raise UserError(f"no image folder {images[source]}")
        prefix = {"img": str(images[source]).rstrip("/") + "/"}
        if cfg.get("default_scope") == "mmdet":
            _make_coco_dataset(dataset)
        if type_name(dataset) == "CocoPanopticDataset":
            prefix["seg"] = _panoptic_folder(annotations[source])
        # Items, not `update`, which would merge the prefixes.
        dataset["data_root"] = ""
        dataset["ann_file"] = str(annotations[source])
        dataset["data_prefix"] = prefix
    if cfg.get("default_scope") == "mmdet":
        _use_coco_metrics(cfg)
    for _, metric in evaluators(cfg):
        metric["ann_file"] = str(annotations["val"])
        if type_name(metric) == "CocoPanopticMetric":
            metric["seg_prefix"] = _panoptic_folder(annotations["val"])


def coco_classes(annotation_file: str) -> tuple[str, ...]:
    """Return the categories of a COCO annotation file in the order of the file, not of their ids.

    Raises:
        UserError: The file does not exist or is not in COCO format.
    """
    return category_names(annotation_file, read_categories(annotation_file))


def annotation_files(
    cfg: Config, splits: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield split, config and local annotation file of the datasets of some splits."""
    for split, dataset in dataset_configs(cfg):
        file = dataset.get("ann_file")
        path = join(dataset.get("data_root") or "", file or "")
        if split in splits and file and "://" not in path:
            yield split, dataset, path


def missing_data(cfg: Config, splits: Sequence[str]) -> tuple[str, list[Path]]:
    """Return the data root of some splits, and their files and folders that do not exist."""
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
    """Return RGB colours with evenly spaced hues."""
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


def _without_concatenation(dataset: dict[str, Any]) -> dict[str, Any]:
    """Keep the first of concatenated datasets, which would all become the same."""
    if type_name(dataset) == "ConcatDataset":
        return _without_concatenation(dataset["datasets"][0])
    if "dataset" in dataset:
        dataset["dataset"] = _without_concatenation(dataset["dataset"])
    return dataset


def _make_coco_dataset(dataset: dict[str, Any]) -> None:
    """Turn a dataset of mmdet with boxes (VOC, LVIS, OpenImages ...) into a CocoDataset.

    Raises:
        UserError: It has no boxes, or is of videos.
    """
    if type_name(dataset) in ("CocoDataset", "CocoPanopticDataset"):
        return
    from mmdet.datasets import BaseDetDataset
    from mmdet.registry import DATASETS

    kind = DATASETS.get(dataset["type"])
    if kind is None or not issubclass(kind, BaseDetDataset):
        raise UserError(f"--coco is for datasets with boxes in images, not for {dataset['type']}")
    kept = {key: dataset[key] for key in COCO_SETTINGS if key in dataset}
    dataset.clear()
    dataset.update(type="CocoDataset", **kept)


def _use_coco_metrics(cfg: Config) -> None:
    """Replace metrics other than COCO's by CocoMetric, of masks too where they are trained."""
    masks = any(
        step.get("with_mask")
        for split, dataset in dataset_configs(cfg)
        for step in dataset.get("pipeline") or ()
        if split == "train"
    )
    for split in SPLITS[1:]:
        metrics = [metric for name, metric in evaluators(cfg) if name == split]
        suited = [m for m in metrics if type_name(m) in ("CocoMetric", "CocoPanopticMetric")]
        if len(suited) < len(metrics):
            metric = {"type": "CocoMetric", "metric": ["bbox", "segm"] if masks else ["bbox"]}
            cfg[f"{split}_evaluator"] = suited or metric


def _leave_out_semantic_maps(cfg: Config) -> None:
    """Remove the branch of HTC and SCNet that needs semantic maps."""
    roi_head = cfg.model.get("roi_head") or {}
    if roi_head.get("semantic_head"):
        print_log("--coco has no semantic maps: the semantic branch is left out", logger="current")
        roi_head.update(semantic_head=None, semantic_roi_extractor=None)
    for _, dataset in dataset_configs(cfg):
        for step in dataset.get("pipeline") or ():
            if step.get("with_seg"):
                step["with_seg"] = False


def _panoptic_classes(path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of thing and stuff categories.

    Raises:
        UserError: The annotations are not panoptic, or stuff is listed before things.
    """
    categories = read_categories(path)
    have_segments = all(
        "segments_info" in entry
        for name, entries in read_coco(path)
        for entry in entries
        if name == "annotations"
    )
    if not have_segments or not all("isthing" in entry for entry in categories):
        raise UserError(
            f"{path} has no panoptic annotations (isthing of categories, segments_info): give a"
            " file that has, or take a config for instances, without CocoPanopticDataset"
        )
    are_things = [bool(entry["isthing"]) for entry in categories]
    if are_things != sorted(are_things, reverse=True):
        raise UserError(f"{path} lists categories of stuff before things: mmdet needs things first")
    names, count = [entry["name"] for entry in categories], sum(are_things)
    return tuple(names[:count]), tuple(names[count:])


def _panoptic_folder(annotation_file: str) -> str:
    """Return the folder of segment maps of a panoptic file, which has its name.

    Raises:
        UserError: It does not exist.
    """
    folder = Path(annotation_file).with_suffix("")
    if not folder.is_dir():
        raise UserError(f"no folder {folder} with the segment maps of {annotation_file}")
    return f"{folder}/"
