"""Split a dataset and write it as COCO annotation files."""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from uniformer_mm.datasets.conversion.annotated import (
    AnnotatedDataset,
    AnnotatedImage,
    Instance,
    find_images,
)
from uniformer_mm.errors import UserError
from uniformer_mm.writing import write_whole

FORMATS = {
    "yolo": "YOLO format: folder with data.yaml (or classes.txt), images and labels",
    "voc": "Pascal VOC format: folder with Annotations/*.xml and JPEGImages",
    "cvat": "the export 'CVAT for images 1.1': folder with annotations.xml and images",
    "labelme": "LabelMe's format: folder with a JSON file per image",
}
"""What is read, by format; each is a module of this package."""

VAL_SHARE = 0.2
"""Share of the images for validation of a dataset without splits."""


@dataclass(frozen=True)
class CocoFiles:
    """A dataset in COCO format.

    Attributes:
        images: Folder that the names of images are relative to.
        train: Annotation file for training.
        val: Annotation file for validation.
    """

    images: str
    train: str
    val: str


@dataclass(frozen=True)
class Split:
    """How images are split off for validation.

    Attributes:
        share: Their share; None keeps the splits of the dataset.
        seed: Another one takes other images.
    """

    share: float | None = None
    seed: int = 0

    def take(self, names: Iterable[str]) -> set[str]:
        """Return the names of the images for validation.

        They depend on the names and the seed, not on their order. A new image exchanges at most one
        of them.

        Raises:
            UserError: There are less than two images.
        """
        ranked = sorted({*names}, key=lambda name: blake2b(f"{self.seed}/{name}".encode()).digest())
        if len(ranked) < 2:
            raise UserError(
                f"{len(ranked)} images cannot be split for training and validation: add images, or"
                " give the validation data"
            )
        share = VAL_SHARE if self.share is None else self.share
        return {*ranked[: min(max(round(share * len(ranked)), 1), len(ranked) - 1)]}


def convert(format_: str, source: Path, folder: Path, split: Split) -> CocoFiles:
    """Convert a dataset.

    Args:
        format_: Key of `FORMATS`.
        source: Folder or file of the dataset.
        folder: Parent of the folders of all converted datasets.
        split: How to split it.

    Returns:
        The files. They are written again only if their content changes.

    Raises:
        UserError: The dataset has a fault, or a library is not installed.
    """
    source = source.expanduser()
    read = import_module(f"uniformer_mm.datasets.conversion.{format_}").read
    dataset: AnnotatedDataset = read(source)
    _check(format_, source, dataset)
    splits, how = _split(dataset, split)
    _complete_outlines(dataset)
    root = Path(dataset.root).absolute()
    out = folder / _folder_name(format_, source, split)
    files = {name: out / f"{name}.json" for name in splits}
    for name, images in splits.items():
        _write(files[name], _content(root, dataset, images))
    _log(format_, source, dataset, splits, how, out)
    return CocoFiles(str(root), str(files["train"]), str(files["val"]))


def split_coco(file: Path, folder: Path, split: Split) -> tuple[str, str]:
    """Split an annotation file in COCO format.

    Args:
        file: The file.
        folder: Parent of the folders of all converted datasets.
        split: How to split it.

    Returns:
        Annotation files for training and validation.

    Raises:
        UserError: The file is not in COCO format, or has less than two images.
    """
    try:
        content = json.loads(file.read_bytes())
        images, annotations = content["images"], content["annotations"]
        names = {image["id"]: image["file_name"] for image in images}
        image_of = [annotation["image_id"] for annotation in annotations]
    except FileNotFoundError as error:
        raise UserError(f"no annotation file {file}") from error
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{file} is not in COCO format ({type(error).__name__}: {error})"
        ) from error
    taken = split.take(names.values())
    out = folder / _folder_name("coco", file, split)
    paths = []
    for name, is_val in (("train", False), ("val", True)):
        ids = {id_ for id_, file_name in names.items() if (file_name in taken) == is_val}
        part = {
            **content,
            "images": [image for image in images if image["id"] in ids],
            "annotations": [a for a, id_ in zip(annotations, image_of, strict=True) if id_ in ids],
        }
        paths.append(out / f"{name}.json")
        _write(paths[-1], part)
    print_log(
        f"{file}: {len(names) - len(taken)} images for training and {len(taken)} for validation, in"
        f" {out}",
        logger="current",
    )
    return str(paths[0]), str(paths[1])


def _check(format_: str, source: Path, dataset: AnnotatedDataset) -> None:
    if not dataset.images:
        images = "" if source.is_file() or find_images(source) else ", and no images"
        raise UserError(f"--{format_} {source}: no annotated images{images}")
    if not any(image.instances for image in dataset.images):
        reasons = "".join(f"; {count} {reason}" for reason, count in dataset.skipped.items())
        raise UserError(
            f"--{format_} {source}: none of the {len(dataset.images)} images has an object{reasons}"
        )


def _split(dataset: AnnotatedDataset, split: Split) -> tuple[dict[str, list[AnnotatedImage]], str]:
    """Return the images for 'train' and 'val', and how they were found.

    Without a share, the splits of the dataset are kept. Without validation images, those for
    testing are taken.
    """
    found: dict[str, list[AnnotatedImage]] = {}
    for image in dataset.images:
        found.setdefault(image.split or "train", []).append(image)
    if split.share is None and found.get("train"):
        for name in ("val", "test"):
            if found.get(name):
                return {
                    "train": found["train"],
                    "val": found[name],
                }, f"train and {name} of the dataset"
    pooled = {image.path: image for name in ("val", "train") for image in found.get(name, ())}
    images = sorted(pooled.values(), key=lambda image: image.path) or dataset.images
    names = {image.path: _name(dataset.root, image) for image in images}
    taken = split.take(names.values())
    share = VAL_SHARE if split.share is None else split.share
    return {
        "train": [image for image in images if names[image.path] not in taken],
        "val": [image for image in images if names[image.path] in taken],
    }, f"--val-share {share}"


def _complete_outlines(dataset: AnnotatedDataset) -> None:
    """Where other objects have an outline, give boxes their four corners as one."""
    instances = [instance for image in dataset.images for instance in image.instances]
    if not any(instance.polygons or instance.rle for instance in instances):
        return
    boxes = [each for each in instances if each.box and not (each.polygons or each.rle)]
    for instance in boxes:
        x, y, w, h = instance.enclosing_box()
        instance.polygons = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    if boxes:
        print_log(
            f"{dataset.root}: {len(boxes)} of {len(instances)} objects have a box and no outline;"
            " their masks are rectangles",
            logger="current",
            level=logging.WARNING,
        )


def _content(
    root: Path, dataset: AnnotatedDataset, images: Sequence[AnnotatedImage]
) -> dict[str, Any]:
    """Return the content of an annotation file."""
    ids = {name: number for number, name in enumerate(dataset.classes, 1)}
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(images, 1):
        width, height = image.size
        name = _name(root, image)
        entries.append({"id": number, "file_name": name, "width": width, "height": height})
        for instance in image.instances:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": ids[instance.name],
                    **_annotation(instance),
                }
            )
    return {
        "images": entries,
        "annotations": annotations,
        "categories": [_category(dataset, name, number) for name, number in ids.items()],
    }


def _annotation(instance: Instance) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "bbox": [round(value, 3) for value in instance.enclosing_box()],
        "area": round(instance.area(), 3),
        "iscrowd": int(instance.is_crowd),
    }
    if instance.rle is not None:
        entry["segmentation"] = instance.rle
    elif instance.polygons:
        entry["segmentation"] = [[round(v, 3) for v in polygon] for polygon in instance.polygons]
    if instance.keypoints:
        entry["keypoints"] = [round(value, 3) for value in instance.keypoints]
        entry["num_keypoints"] = sum(flag > 0 for flag in instance.keypoints[2::3])
    return entry


def _category(dataset: AnnotatedDataset, name: str, number: int) -> dict[str, Any]:
    category: dict[str, Any] = {"id": number, "name": name}
    if name in dataset.keypoints:
        category["keypoints"] = list(dataset.keypoints[name])
        if dataset.swaps:
            category["flip_idx"] = list(dataset.swaps)
    return category


def _name(root: Path, image: AnnotatedImage) -> str:
    """Return the name of an image relative to the dataset, or its path if it is elsewhere."""
    path, root = Path(image.path).absolute(), Path(root).absolute()
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _folder_name(format_: str, source: Path, split: Split) -> str:
    """Return a readable name that differs between sources and splits."""
    key = blake2b(f"{format_} {source.absolute()} {split}".encode(), digest_size=4).hexdigest()
    return f"{format_}-{source.absolute().stem}-{key}"


def _write(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, separators=(",", ":")).encode()
    if not path.is_file() or path.read_bytes() != text:
        write_whole(path, text)


def _log(
    format_: str,
    source: Path,
    dataset: AnnotatedDataset,
    splits: dict[str, list[AnnotatedImage]],
    how: str,
    out: Path,
) -> None:
    instances = [each for image in dataset.images for each in image.instances]
    masks = sum(bool(each.polygons or each.rle) for each in instances)
    poses = sum(bool(each.keypoints) for each in instances)
    parts = [f"{len(instances)} objects of {len(dataset.classes)} classes"]
    parts += [f"{masks} with masks"] if masks else []
    parts += [f"{poses} with keypoints"] if poses else []
    parts += [f"{len(splits[name])} images for {use}" for name, use in USES]
    print_log(f"--{format_} {source}: {', '.join(parts)} ({how}), in {out}", logger="current")
    for reason, count in dataset.skipped.items():
        if count:
            print_log(
                f"--{format_} {source}: left out: {count} {reason}",
                logger="current",
                level=logging.WARNING,
            )


USES = (("train", "training"), ("val", "validation"))
