"""Datasets in Pascal VOC format: the devkit's folders, labelImg and Roboflow.

Every image has an XML file with boxes. Masks of instances are images of the folder
SegmentationObject, where pixel values count the objects of the XML file from 1, or polygons in the
XML file.
"""

from pathlib import Path
from typing import Any

import numpy as np

from uniformer_mm.datasets.conversion.annotated import (
    SPLIT_NAMES,
    AnnotatedDataset,
    AnnotatedImage,
    Instance,
    errors_of,
    image_size,
    require,
    split_of,
)
from uniformer_mm.datasets.finding import IMAGE_SUFFIXES
from uniformer_mm.errors import UserError

IMAGE_FOLDERS = ("JPEGImages", "images", "Images")
"""Folders of images next to that of the XML files."""

BORDER = 255
"""Pixel value of the unlabelled border between instances."""


def read(source: Path) -> AnnotatedDataset:
    """Read a dataset.

    Args:
        source: Its folder.

    Raises:
        UserError: The dataset has a fault.
    """
    voc = require("supervision.dataset.formats.pascal_voc", "voc")
    parse = require("defusedxml.ElementTree", "voc").parse
    if not source.is_dir():
        raise UserError(f"there is no folder {source}: --voc takes a folder with Annotations/*.xml")
    annotations = source / "Annotations"
    files = sorted((annotations if annotations.is_dir() else source).rglob("*.xml"))
    if not files:
        raise UserError(f"{source} has no XML files: --voc takes a folder with Annotations/*.xml")
    splits = _splits(source)
    dataset = AnnotatedDataset(source, ())
    names: set[str] = set()
    for file in files:
        with errors_of(file, "Expected Pascal VOC: object, name, bndbox, xmin, ymin, xmax, ymax"):
            root = parse(file).getroot()
            path = _image_file(file, root.findtext("filename"))
            size = _stated_size(root) or image_size(path)
            image = AnnotatedImage(path, size, split_of(file.relative_to(source)))
            image.instances = _instances(voc, root, size)
            _add_masks(image, source / "SegmentationObject" / f"{file.stem}.png")
        names.update(instance.name for instance in image.instances)
        if splits:
            image.split = splits.get(file.stem, "")
            if not image.split:
                dataset.skipped["images in none of the lists of ImageSets/Main"] += 1
                continue
        dataset.images.append(image)
    dataset.classes = tuple(sorted(names))
    return dataset


def _splits(source: Path) -> dict[str, str]:
    """Return the split by image name, from the lists in ImageSets/Main; empty without them."""
    folder = source / "ImageSets" / "Main"
    lists = {
        SPLIT_NAMES[path.stem]: path for path in folder.glob("*.txt") if path.stem in SPLIT_NAMES
    }
    if "train" not in lists and (both := folder / "trainval.txt").is_file():
        lists["train"] = both
    splits: dict[str, str] = {}
    for split, path in lists.items():
        for name in path.read_text(encoding="utf-8-sig").split("\n"):
            if name.strip():
                splits[name.split()[0]] = split
    return splits


def _image_file(file: Path, stated: str | None) -> Path:
    """Return the image of an XML file.

    Raises:
        UserError: There is none.
    """
    folders = [file.parent, *(file.parent.parent / name for name in IMAGE_FOLDERS)]
    suffixes = sorted(IMAGE_SUFFIXES)
    names = [f"{file.stem}{suffix}" for suffix in (*suffixes, *map(str.upper, suffixes))]
    if stated:
        names.insert(0, Path(stated.strip().replace("\\", "/")).name)
    for path in (folder / name for folder in folders for name in names):
        if path.is_file():
            return path
    raise UserError(
        f"there is no image of {file}: expected {folders[1] / names[0]}, or one of this name next"
        " to the XML file"
    )


def _stated_size(root: Any) -> tuple[int, int] | None:
    """Return width and height of an XML file; None if they are missing or 0."""
    width, height = (int(float(root.findtext(f"size/{name}") or 0)) for name in ("width", "height"))
    return (width, height) if width > 0 and height > 0 else None


def _instances(voc: Any, root: Any, size: tuple[int, int]) -> list[Instance]:
    detections, names = voc.detections_from_xml_obj(root, [], size)
    instances = []
    for element, corners, index in zip(
        root.findall("object"), detections.xyxy.tolist(), detections.class_id, strict=True
    ):
        left, top, right, bottom = corners
        instance = Instance(names[index], (left, top, right - left, bottom - top))
        polygons = [voc.parse_polygon_points(polygon) for polygon in element.findall("polygon")]
        # Points count pixels from 1.
        instance.polygons = [(points - 1.0).ravel().tolist() for points in polygons]
        instance.is_crowd = (element.findtext("difficult") or "").strip() == "1"
        instances.append(instance)
    return instances


def _add_masks(image: AnnotatedImage, file: Path) -> None:
    """Add the masks of SegmentationObject to the objects of an image.

    Raises:
        UserError: The file has another size, or other instances.
    """
    from PIL import Image

    if not file.is_file():
        return
    with Image.open(file) as opened:
        numbers = np.array(opened)
    width, height = image.size
    if numbers.shape != (height, width):
        raise UserError(
            f"{file} has the shape {numbers.shape}, expected one value per pixel of its image,"
            f" ({height}, {width}): save it with a palette, as PNG of the same size"
        )
    values = {*np.unique(numbers).tolist()} - {0, BORDER}
    if values - {*range(1, len(image.instances) + 1)}:
        raise UserError(
            f"{file} has the values {sorted(values)}, but the XML file has {len(image.instances)}"
            " objects: value 1 is the first of them"
        )
    for value in values:
        image.instances[value - 1].set_mask(numbers == value)
