"""Exports of CVAT in its own format, "CVAT for images 1.1": annotations.xml and images."""

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
    merge_groups,
    require,
    split_of,
)
from uniformer_mm.errors import UserError

SHAPES = ("box", "polygon", "mask", "skeleton")
"""Tags of the shapes that are objects."""


def read(source: Path) -> AnnotatedDataset:
    """Read a dataset.

    Args:
        source: Its folder, or its XML file.

    Raises:
        UserError: The dataset has a fault.
    """
    cvat = require("dagshub_annotation_converter.formats.cvat", "cvat")
    parse = require("lxml.etree", "cvat").parse
    file = source / "annotations.xml" if source.is_dir() else source
    if not file.is_file():
        raise UserError(
            f"there is no {file}: --cvat takes the unpacked folder, or the XML file, of an"
            " export in the format 'CVAT for images 1.1', with images"
        )
    with errors_of(file, "Expected an export in the format 'CVAT for images 1.1'"):
        root = parse(str(file)).getroot()
        if root.find("track") is not None:
            raise UserError(f"{file} is of a video: export it in the format 'CVAT for images 1.1'")
        dataset = AnnotatedDataset(file.parent, *_labels(root))
    for element in root.iter("image"):
        name = element.get("name") or ""
        with errors_of(f"{file}, image {name}", "Export the dataset again"):
            dataset.images.append(_image(cvat, dataset, element))
    return dataset


def _labels(root: Any) -> tuple[tuple[str, ...], list[AnnotatedImage], dict[str, tuple[str, ...]]]:
    """Return the classes, no images, and the names of keypoints by class, in CVAT's order."""
    classes: list[str] = []
    keypoints: dict[str, tuple[str, ...]] = {}
    for label in root.find("meta").iter("label"):
        name, parent = label.findtext("name"), label.findtext("parent")
        if parent:
            keypoints[parent] = (*keypoints.get(parent, ()), name)
        elif name not in classes:
            classes.append(name)
    return tuple(classes), [], keypoints


def _image(cvat: Any, dataset: AnnotatedDataset, element: Any) -> AnnotatedImage:
    name, subset = element.get("name") or "", element.get("subset") or ""
    path = _image_file(dataset.root, name, subset)
    split = SPLIT_NAMES.get(subset.lower()) or split_of(Path(name))
    if not (element.get("width") and element.get("height")):
        width, height = image_size(path)
        element.set("width", str(width))
        element.set("height", str(height))
    size = int(element.get("width")), int(element.get("height"))
    parts = []
    for shape in element:
        if shape.tag not in SHAPES:
            dataset.skipped[f"shapes of the type {shape.tag}"] += 1
            continue
        annotation = cvat.annotation_parsers[shape.tag](shape, element)
        instance = Instance(annotation.ensure_has_one_category())
        if instance.name not in dataset.classes:
            raise UserError(
                f"image {name} of {dataset.root} has the label {instance.name!r}, which is not"
                f" one of those in <meta>: {', '.join(dataset.classes)}"
            )
        ADDERS[shape.tag](instance, annotation, shape, dataset)
        parts.append((int(shape.get("group_id") or 0) or None, instance))
    return AnnotatedImage(path, size, split, merge_groups(parts))


def _image_file(root: Path, name: str, subset: str) -> Path:
    """Return the file of an image.

    Raises:
        UserError: There is none.
    """
    candidates = [root / "images" / name, root / "images" / subset / name, root / name]
    for path in candidates:
        if path.is_file():
            return path
    raise UserError(
        f"there is no image {candidates[0]}. Export the dataset with 'Save images', or put the"
        " images there"
    )


def _add_box(instance: Instance, box: Any, shape: Any, dataset: AnnotatedDataset) -> None:
    if not box.rotation:
        instance.box = box.left, box.top, box.width, box.height
        return
    angle = np.radians(box.rotation)  # clockwise around the first corner
    along = box.width * np.array([np.cos(angle), np.sin(angle)])
    across = box.height * np.array([-np.sin(angle), np.cos(angle)])
    corner = np.array([box.left, box.top])
    corners = np.stack([corner, corner + along, corner + along + across, corner + across])
    instance.polygons = [corners.ravel().tolist()]


def _add_polygon(instance: Instance, polygon: Any, shape: Any, dataset: AnnotatedDataset) -> None:
    instance.polygons = [[value for point in polygon.points for value in (point.x, point.y)]]


def _add_mask(instance: Instance, mask: Any, shape: Any, dataset: AnnotatedDataset) -> None:
    instance.set_mask(mask.to_mask())


def _add_skeleton(instance: Instance, pose: Any, shape: Any, dataset: AnnotatedDataset) -> None:
    """Add keypoints in the order of the labels: the library sorts them by name."""
    flags = {point.get("label"): point.get("outside") == "1" for point in shape.iter("points")}
    key: Any = int if all(map(str.isdigit, flags)) else str
    points = dict(zip(sorted(flags, key=key), pose.points, strict=True))
    names = dataset.keypoints.setdefault(instance.name, tuple(flags))
    for name in names:
        if name not in points or flags[name]:
            instance.keypoints += [0.0, 0.0, 0]
        else:
            point = points[name]
            instance.keypoints += [point.x, point.y, 2 if point.visible else 1]


ADDERS = dict(zip(SHAPES, (_add_box, _add_polygon, _add_mask, _add_skeleton), strict=True))
