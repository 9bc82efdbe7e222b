"""Datasets in YOLO format: Ultralytics, Roboflow, Darknet, labelImg and Label Studio.

Every image has a text file of the same name with a line per object: class index, then shares of the
image's width and height. Boxes have a center and a size, polygons a list of points, poses a box and
keypoints.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from uniformer_mm.datasets.conversion.annotated import (
    AnnotatedDataset,
    AnnotatedImage,
    Instance,
    errors_of,
    find_images,
    image_size,
    require,
    split_of,
)
from uniformer_mm.datasets.synthetic.stick_figures import JOINTS
from uniformer_mm.errors import UserError, printable

NAME_FILES = ("classes.txt", "obj.names")
"""Lists of classes, one per line, of tools that write no data.yaml."""

TOLERANCE = 0.01
"""Share of an image by which coordinates may lie outside it."""


def read(source: Path) -> AnnotatedDataset:
    """Read a dataset.

    Args:
        source: Its folder, or its data.yaml.

    Raises:
        UserError: The dataset has a fault.
    """
    require("dagshub_annotation_converter.converters.yolo", "yolo")
    config = source if source.is_file() else _find_config(source)
    folder = config.parent
    content = _read_yaml(config) if config.suffix in (".yaml", ".yml") else {}
    names = _class_names(config, content)
    dataset = AnnotatedDataset(folder, names)
    labels = Labels(config, content, names)
    if labels.num_keypoints:
        dataset.keypoints = dict.fromkeys(names, _keypoint_names(config, content, labels))
        dataset.swaps = _swaps(config, content, labels.num_keypoints)
    files: set[Path] = set()
    for split, path in _images(config, content):
        if not path.is_file():
            raise UserError(f"there is no image {path}, which {config} lists")
        size, file = image_size(path), _label_file(path)
        files.add(file)
        instances = list(labels.read(file, size)) if file.is_file() else []
        dataset.images.append(AnnotatedImage(path, size, split, instances))
    if files and not any(map(Path.is_file, files)):
        raise UserError(
            f"none of the {len(files)} images in {folder} has a label file: expected for instance"
            f" {min(files)}"
        )
    for parent in {file.parent for file in files}:
        left = {*parent.glob("*.txt")} - files - {parent / "classes.txt", parent / "train.txt"}
        dataset.skipped["label files without an image"] += len(left)
    return dataset


class Labels:
    """Reads the label files of a dataset.

    Args:
        config: The file with the names of the classes, for errors.
        content: Content of data.yaml.
        names: Classes.
    """

    def __init__(self, config: Path, content: dict[str, Any], names: tuple[str, ...]) -> None:
        formats = require("dagshub_annotation_converter.formats.yolo", "yolo")
        self.config, self.names = config, names
        self.parsers = formats.import_lookup
        self.context = formats.YoloContext(annotation_type="bbox")
        for name in names:
            self.context.categories.add(name)
        self.num_keypoints, self.per_keypoint = _keypoint_shape(config, content)
        if self.num_keypoints:
            self.context.keypoint_dim = self.per_keypoint

    def read(self, file: Path, size: tuple[int, int]) -> Iterator[Instance]:
        """Yield the objects of an image.

        Args:
            file: The label file.
            size: Width and height of the image.

        Raises:
            UserError: A line is invalid.
        """
        with errors_of(file, "YOLO's label files are text in UTF-8"):
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        for number, line in enumerate(lines, 1):
            if values := line.split():
                place = f"{file}, line {number}"
                kind = self._kind(place, values)
                self._check(place, values, kind)
                parse = self.parsers[kind]
                with errors_of(place, "Correct the line"):
                    annotation = parse(" ".join(values), self.context, *size, None)
                    yield self._instance(annotation, values, size)

    def _kind(self, place: str, values: list[str]) -> str:
        """Return whether a line is a 'bbox', a 'segmentation' or a 'pose'."""
        count = len(values)
        if count == 5:
            return "bbox"
        if self.num_keypoints:
            if count == 5 + self.num_keypoints * self.per_keypoint:
                return "pose"
            expected = (
                f"5 for a box, and {self.per_keypoint} for each of {self.num_keypoints} keypoints"
                f" (kpt_shape in {self.config})"
            )
        elif count >= 7 and count % 2:
            return "segmentation"
        else:
            expected = "5 (class, x, y, width, height), or a class and at least 3 points x, y"
        raise UserError(f"{place}: {count} values, expected {expected}")

    def _check(self, place: str, values: list[str], kind: str) -> None:
        """Check the class and the coordinates of a line."""
        if not values[0].isdecimal() or int(values[0]) >= len(self.names):
            raise UserError(
                f"{place}: class {printable(values[0])}, but {self.config} names"
                f" {len(self.names)} classes (0 to {len(self.names) - 1}). Correct the line, or add"
                " the name"
            )
        shares = values[1:]
        if kind == "pose" and self.per_keypoint == 3:
            shares = [value for index, value in enumerate(shares) if index < 4 or index % 3 != 0]
        for value in shares:
            try:
                is_share = -TOLERANCE <= float(value) <= 1 + TOLERANCE
            except ValueError:
                is_share = False
            if not is_share:
                raise UserError(
                    f"{place}: the coordinate {printable(value)}, expected a share of the image's"
                    " width or height, from 0 to 1. Divide pixels by the size of the image"
                )

    def _instance(self, annotation: Any, values: list[str], size: tuple[int, int]) -> Instance:
        """Convert what the library returns to pixels."""
        width, height = size
        instance = Instance(annotation.ensure_has_one_category())
        points = [(p.x * width, p.y * height) for p in getattr(annotation, "points", ())]
        if not hasattr(annotation, "left"):
            instance.polygons = [[value for point in points for value in point]]
            return instance
        corner = annotation.left * width, annotation.top * height
        instance.box = *corner, annotation.width * width, annotation.height * height
        # The library's flag is whether the visibility is 1: 0 and 2 look alike.
        flags = values[7::3] if self.per_keypoint == 3 else []
        for index, (x, y) in enumerate(points):
            visibility = int(float(flags[index])) if flags else 2 * bool(x or y)
            instance.keypoints += [x, y, visibility]
        return instance


def _find_config(folder: Path) -> Path:
    """Return the data.yaml of a folder, or its list of classes."""
    found = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    named = [path for path in found if path.stem == "data"] or found
    if len(named) > 1:
        raise UserError(
            f"{folder} has several YAML files ({', '.join(path.name for path in named)}): give the"
            " one that describes the dataset, --yolo FILE.yaml"
        )
    for path in (*named, *(folder / name for name in NAME_FILES)):
        if path.is_file():
            return path
    if not folder.is_dir():
        raise UserError(
            f"there is no folder or file {folder}: --yolo takes a folder or a data.yaml"
        )
    raise UserError(
        f"{folder} has no data.yaml, {' or '.join(NAME_FILES)}. Write one with the names of the"
        " classes in the order of their indices:\n    train: images/train\n    val: images/val\n"
        "    names: [cat, dog]"
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    with errors_of(path, "It must be YAML, with `names` and `train`"):
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a YAML mapping with `names` and `train`")
    return content


def _class_names(config: Path, content: dict[str, Any]) -> tuple[str, ...]:
    """Return the names in the order of the class indices."""
    if config.suffix not in (".yaml", ".yml"):
        names: Any = [line.strip() for line in config.read_text(encoding="utf-8-sig").splitlines()]
        names = [name for name in names if name]
    else:
        names = content.get("names")
    if isinstance(names, dict):
        if sorted(map(str, names)) != sorted(map(str, range(len(names)))):
            raise UserError(
                f"{config}: `names` has the indices {printable(str([*names]))}, expected 0 to"
                f" {len(names) - 1}"
            )
        names = [names[index] for index in sorted(names, key=int)]
    if not isinstance(names, list) or not names:
        raise UserError(f"{config}: no names of classes, expected for instance `names: [cat, dog]`")
    if len(set(map(str, names))) < len(names):
        raise UserError(f"{config}: `names` has a class twice: {printable(str(names))}")
    if "nc" in content and content["nc"] != len(names):
        raise UserError(f"{config}: nc is {content['nc']}, but `names` has {len(names)} classes")
    return tuple(map(str, names))


def _keypoint_shape(config: Path, content: dict[str, Any]) -> tuple[int, int]:
    """Return the number of keypoints and of values for each; (0, 0) for no poses."""
    shape = content.get("kpt_shape")
    if shape is None:
        return 0, 0
    if not (isinstance(shape, list) and [*map(type, shape)] == [int, int] and shape[1] in (2, 3)):
        raise UserError(
            f"{config}: kpt_shape is {printable(str(shape))}, expected [number of keypoints,"
            " 2 or 3]"
        )
    return shape[0], shape[1]


def _keypoint_names(config: Path, content: dict[str, Any], labels: Labels) -> tuple[str, ...]:
    count = labels.num_keypoints
    names = content.get("kpt_names")
    if isinstance(names, dict):  # by class: all have the same number
        names = next(iter(names.values()), None)
    if names is None:
        return JOINTS if count == len(JOINTS) else tuple(str(index) for index in range(count))
    if not isinstance(names, list) or len(names) != count:
        raise UserError(f"{config}: kpt_names must be a list of {count} names, as kpt_shape says")
    return tuple(map(str, names))


def _swaps(config: Path, content: dict[str, Any], count: int) -> tuple[int, ...]:
    swaps = content.get("flip_idx") or []
    if swaps and sorted(swaps) != list(range(count)):
        raise UserError(
            f"{config}: flip_idx is {printable(str(swaps))}, expected each index from 0 to"
            f" {count - 1} once"
        )
    return tuple(swaps)


def _images(config: Path, content: dict[str, Any]) -> Iterator[tuple[str, Path]]:
    """Yield the images with their split."""
    listed = {split: content[split] for split in ("train", "val", "test") if content.get(split)}
    if not listed:
        found = find_images(config.parent)
        if not found:
            raise UserError(f"{config.parent} has no images")
        yield from ((split_of(path.relative_to(config.parent)), path) for path in found)
    for split, places in listed.items():
        for place in places if isinstance(places, list) else [places]:
            path = _resolve(config, content, str(place))
            if path.is_dir():
                yield from ((split, image) for image in find_images(path))
            elif path.is_file():
                yield from ((split, image) for image in _listed_images(path))
            elif split != "test":  # which exports name even if there is none
                raise UserError(
                    f"{config}: {split} is {printable(str(place))}, but there is no folder {path}."
                    " Correct the path, which is relative to `path`, or to the file"
                )


def _resolve(config: Path, content: dict[str, Any], place: str) -> Path:
    """Return the path that an entry of data.yaml means.

    `path` is often a folder of the machine that exported the dataset, and Roboflow's entries are
    relative to a folder below.
    """
    folder = config.parent
    roots = [folder / str(content.get("path") or ""), folder]
    candidates = [root / place for root in roots]
    candidates += [folder / place.removeprefix("../")]
    return next((path for path in candidates if path.exists()), candidates[0])


def _listed_images(listing: Path) -> Iterable[Path]:
    """Yield the images of a list, whose paths are relative to it."""
    for line in listing.read_text(encoding="utf-8-sig").splitlines():
        if name := line.strip():
            path = listing.parent / name
            # Darknet's lists start with the folder `data`.
            yield path if path.is_file() else listing.parent / name.removeprefix("data/")


def _label_file(image: Path) -> Path:
    """Return the label file of an image: in `labels` instead of `images`, or next to it."""
    parts = list(image.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            path = Path(*parts[:index], "labels", *parts[index + 1 :]).with_suffix(".txt")
            beside = image.with_suffix(".txt")
            return beside if beside.is_file() and not path.is_file() else path
    return image.with_suffix(".txt")
