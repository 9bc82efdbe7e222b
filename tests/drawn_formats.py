"""Drawn images with known objects, written as each format is exported by its tools."""

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import yaml
from PIL import Image

CLASSES = ("leaf", "stem")
JOINTS = ("tip", "middle", "base")
SPLITS = {"train": 4, "val": 2}
SIZE = (96, 72)
"""Width and height; images of odd index are turned."""


@dataclass
class Drawn:
    """An object.

    Attributes:
        name: Its class.
        points: Outline; the corners for a rectangle.
        keypoints: x, y and visibility of `JOINTS`.
    """

    name: str
    points: list[tuple[float, float]]
    keypoints: list[tuple[float, float, int]] = field(default_factory=list)

    @property
    def box(self) -> list[float]:
        """x, y, width, height."""
        xs, ys = zip(*self.points, strict=True)
        return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]

    @property
    def polygon(self) -> list[float]:
        return [value for point in self.points for value in point]


@dataclass
class Picture:
    """An image with its objects; one of each split has none."""

    split: str
    file: str
    width: int
    height: int
    objects: list[Drawn]

    def write(self, path: Path) -> None:
        image = np.full((self.height, self.width, 3), 200, np.uint8)
        for drawn in self.objects:
            colour = (40, 160, 40) if drawn.name == "leaf" else (40, 80, 140)
            cv2.fillPoly(image, [np.round(drawn.points).astype(np.int32)], colour)
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), image)


def draw(suffix: str = ".jpg") -> list[Picture]:
    """The images; coordinates are multiples of 1/4 pixel, except those of rectangles (integers)."""
    pictures = []
    for split, count in SPLITS.items():
        for index in range(count):
            width, height = SIZE[:: -1 if index % 2 else 1]
            x, y = 8.0 + index, 10.0 + 2 * index
            leaf = Drawn("leaf", [(x + 10.25, y), (x + 20.5, y + 30.75), (x, y + 22)])
            stem = Drawn("stem", [(x + 30, y), (x + 36, y), (x + 36, y + 40), (x + 30, y + 40)])
            for drawn in (leaf, stem):
                left, top, w, h = drawn.box
                drawn.keypoints = [
                    (left + w / 2, top, 2),
                    (left + w / 2, top + h / 2, 1),
                    (0.0, 0.0, 0),
                ]
            objects = [] if index == count - 1 else [leaf, stem]
            pictures.append(Picture(split, f"{split}{index}{suffix}", width, height, objects))
    return pictures


# ------------------------------------------------------------------------------------------ YOLO


def write_yolo(folder: Path, kind: str = "segment", **options) -> list[Picture]:
    """Ultralytics' layout. `kind`: detect, segment or pose."""
    pictures = draw()
    for picture in pictures:
        picture.write(folder / "images" / picture.split / picture.file)
        lines = [yolo_line(picture, drawn, kind) for drawn in picture.objects]
        if lines:  # an image without objects has no file
            path = (folder / "labels" / picture.split / picture.file).with_suffix(".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines) + "\n")
    content = {"path": ".", "train": "images/train", "val": "images/val"}
    content["names"] = dict(enumerate(CLASSES))
    if kind == "pose":
        content |= {"kpt_shape": [3, 3], "kpt_names": {0: list(JOINTS), 1: list(JOINTS)}}
    (folder / "data.yaml").write_text(yaml.safe_dump(content | options))
    return pictures


def yolo_line(picture: Picture, drawn: Drawn, kind: str) -> str:
    size = (picture.width, picture.height)
    left, top, w, h = drawn.box
    values = [(left + w / 2) / size[0], (top + h / 2) / size[1], w / size[0], h / size[1]]
    if kind == "segment":
        values = [
            coordinate / side
            for point in drawn.points
            for coordinate, side in zip(point, size, strict=True)
        ]
    if kind == "pose":
        for x, y, visibility in drawn.keypoints:
            values += [x / size[0], y / size[1], visibility]
    return " ".join([str(CLASSES.index(drawn.name)), *(f"{value:.8g}" for value in values)])


# ------------------------------------------------------------------------------------------- VOC


def write_voc(folder: Path, masks: bool = False) -> list[Picture]:
    """The devkit's layout; boxes count pixels from 1 and include the last one."""
    pictures = draw()
    for picture in pictures:
        stem = Path(picture.file).stem
        picture.write(folder / "JPEGImages" / picture.file)
        root = ElementTree.Element("annotation")
        _texts(root, filename=picture.file)
        _texts(
            ElementTree.SubElement(root, "size"),
            width=picture.width,
            height=picture.height,
            depth=3,
        )
        numbers = np.zeros((picture.height, picture.width), np.uint8)
        for number, drawn in enumerate(picture.objects, 1):
            left, top, w, h = map(round, drawn.box)
            each = ElementTree.SubElement(root, "object")
            _texts(each, name=drawn.name, difficult=0)
            _texts(
                ElementTree.SubElement(each, "bndbox"),
                xmin=left + 1,
                ymin=top + 1,
                xmax=left + w,
                ymax=top + h,
            )
            numbers[top : top + h, left : left + w] = number
        path = (folder / "Annotations" / stem).with_suffix(".xml")
        path.parent.mkdir(parents=True, exist_ok=True)
        ElementTree.ElementTree(root).write(path)
        if masks and picture.objects:
            image = Image.fromarray(numbers, mode="P")
            image.putpalette([value for index in range(256) for value in (index * 40 % 256, 0, 0)])
            (folder / "SegmentationObject").mkdir(exist_ok=True)
            image.save(folder / "SegmentationObject" / f"{stem}.png")
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        names = [Path(each.file).stem for each in pictures if each.split == split]
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
    return pictures


def _texts(parent: ElementTree.Element, /, **texts) -> None:
    for tag, text in texts.items():
        ElementTree.SubElement(parent, tag).text = str(text)


# ------------------------------------------------------------------------------------------ CVAT


def write_cvat(folder: Path, kind: str = "polygon") -> list[Picture]:
    """CVAT for images 1.1. `kind`: box, polygon, mask, or skeleton with a box in its group."""
    pictures = draw()
    root = ElementTree.Element("annotations")
    _texts(root, version="1.1")
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    labels = ElementTree.SubElement(task, "labels")
    for name in CLASSES:
        _texts(ElementTree.SubElement(labels, "label"), name=name, type="any")
        if kind == "skeleton":
            for joint in JOINTS:
                _texts(
                    ElementTree.SubElement(labels, "label"), name=joint, type="points", parent=name
                )
    for number, picture in enumerate(pictures):
        picture.write(folder / "images" / picture.file)
        image = ElementTree.SubElement(
            root,
            "image",
            id=str(number),
            name=picture.file,
            width=str(picture.width),
            height=str(picture.height),
        )
        for group, drawn in enumerate(picture.objects, 1):
            for tag, attributes in _cvat_shapes(drawn, kind):
                shape = ElementTree.SubElement(
                    image, tag, label=drawn.name, occluded="0", z_order="0", **attributes
                )
                if kind == "skeleton":
                    shape.set("group_id", str(group))
                if tag == "skeleton":
                    for joint, (x, y, visibility) in zip(JOINTS, drawn.keypoints, strict=True):
                        ElementTree.SubElement(
                            shape,
                            "points",
                            label=joint,
                            points=f"{x},{y}",
                            occluded=str(int(visibility == 1)),
                            outside=str(int(visibility == 0)),
                        )
    folder.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(root).write(folder / "annotations.xml")
    return pictures


def _cvat_shapes(drawn: Drawn, kind: str):
    left, top, w, h = drawn.box
    box = {"xtl": left, "ytl": top, "xbr": left + w, "ybr": top + h}
    if kind in ("box", "skeleton"):
        yield "box", {key: str(value) for key, value in box.items()}
    if kind == "skeleton":
        yield "skeleton", {}
    if kind == "polygon":
        yield "polygon", {"points": ";".join(f"{x},{y}" for x, y in drawn.points)}
    if kind == "mask":  # the box without its right column, row by row
        left, top, w, h = map(round, drawn.box)
        counts = [0, w - 1] + [1, w - 1] * (h - 1) + [1]
        yield (
            "mask",
            {
                "rle": ", ".join(map(str, counts)),
                **{"left": str(left), "top": str(top), "width": str(w), "height": str(h)},
            },
        )


# --------------------------------------------------------------------------------------- LabelMe


def write_labelme(folder: Path, kind: str = "polygon") -> list[Picture]:
    """A JSON file next to every image. `kind`: rectangle, polygon or mask."""
    pictures = draw()
    for picture in pictures:
        picture.write(folder / picture.file)
        shapes = []
        for drawn in picture.objects:
            left, top, w, h = drawn.box
            corners = [(left + w, top + h), (left, top)]  # drawn from the lower right
            shapes.append(
                {
                    "label": drawn.name,
                    "points": drawn.points if kind == "polygon" else corners,
                    "group_id": None,
                    "shape_type": kind,
                    "flags": {},
                }
            )
            if kind == "mask":
                left, top, w, h = map(round, drawn.box)
                corners = [(left, top), (left + w - 1, top + h - 1)]
                png = cv2.imencode(".png", np.ones((h, w), np.uint8))[1]
                shapes[-1] |= {"points": corners, "mask": base64.b64encode(png).decode()}
        content = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": picture.file,
            "imageData": None,
            "imageHeight": picture.height,
            "imageWidth": picture.width,
        }
        (folder / picture.file).with_suffix(".json").write_text(json.dumps(content))
    return pictures
