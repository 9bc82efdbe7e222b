"""The base class of predictions."""

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.media import Frame, Image, bgr_to_rgb, write_image
from uniformer_mm.datasets.overrides import distinct_colours
from uniformer_mm.visualization.drawing import (
    LARGEST_SIDE,
    MIN_WIDTH,
    Colour,
    resized,
    side_by_side,
)
from uniformer_mm.writing import write_parts


class Prediction(ABC):
    """Prediction of a model for an image or a clip, or its ground truth.

    Attributes:
        source: The image or clip.
        meta: Classes, colours and joints of the model's dataset, under mmengine's names.
        is_ground_truth: Whether it has no scores worth showing.
        threshold: Score threshold; None where every pixel has a class.
        opacity: Opacity of masks, label maps and skeletons, from 0 to 1.
    """

    default_threshold: ClassVar[float]
    """Score threshold unless the user gives one."""

    is_ground_truth = False
    threshold: float | None = None
    opacity: float = 1.0

    def __init__(self, source: Any, meta: Mapping[str, Any]) -> None:
        self.source = source
        self.meta = meta

    @classmethod
    @abstractmethod
    def from_samples(
        cls, source: Any, samples: Sequence[Any], meta: Mapping[str, Any], threshold: float
    ) -> "Prediction":
        """Convert the data samples that an OpenMMLab model returns.

        Args:
            source: The image or clip.
            samples: One; in pose estimation one per person.
            meta: Of the model's dataset.
            threshold: Score threshold.
        """

    @classmethod
    @abstractmethod
    def from_ground_truth(
        cls, source: Any, samples: Sequence[Any], meta: Mapping[str, Any]
    ) -> "Prediction | None":
        """Convert the ground truth of data samples; None if they have none."""

    @abstractmethod
    def _draw(self, image: Image) -> Image:
        """Draw on an RGB image; the size of the result depends on nothing predicted."""

    def draw_on(self, image: Image) -> Image:
        """Draw on an image (H, W, 3), BGR, such as a frame of a video."""
        return bgr_to_rgb(self._draw(bgr_to_rgb(image)))

    def draw(self) -> Image:
        """Draw on the source; returns (H, W, 3), BGR."""
        return self.draw_on(self.source.image)

    def compare(self, ground_truth: "Prediction | None") -> Image:
        """Draw the prediction, and to the left of it the ground truth if there is one; BGR."""
        if ground_truth is None:
            return self.draw()
        title = "prediction" + (f", score ≥ {self.threshold:g}" if self.threshold else "")
        panels = [("ground truth", ground_truth), (title, self)]
        return side_by_side([(name, one.enlarged().draw()) for name, one in panels], columns=2)

    def enlarged(self) -> "Prediction":
        """Return a copy on a larger image if lines and text would hide much of this one."""
        if not isinstance(self.source, Frame):  # frames of clips keep their size
            return self
        image = self.source.image
        if min(image.shape[:2]) >= MIN_WIDTH or max(image.shape[:2]) >= LARGEST_SIDE:
            return self
        larger = copy.copy(self)
        larger.source = replace(self.source, image=resized(image, MIN_WIDTH))
        height, width = larger.source.image.shape[:2]
        larger._scale(width / image.shape[1], height / image.shape[0])
        return larger

    @abstractmethod
    def _scale(self, x: float, y: float) -> None:
        """Multiply coordinates by factors, in new arrays."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as plain data."""

    @classmethod
    def categories(cls, meta: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        """Return categories in COCO's format; None if predictions are not written in it."""
        return None

    def save(self, path: str | Path) -> None:
        """Write the drawn prediction, or to a file `*.json` the data; an old file is replaced.

        Raises:
            UserError: The file cannot be written, or its suffix is not a known format.
        """
        if Path(path).suffix.lower() == ".json":
            write_json(Path(path), [self.to_dict()], self.categories(self.meta))
        else:
            write_image(Path(path), self.draw())

    def _coco_entry(self, annotations: Iterable[dict[str, Any]]) -> dict[str, Any]:
        """An image with its annotations, which `write_json` puts into COCO's format."""
        height, width = self.source.image.shape[:2]
        size = {"height": height, "width": width}
        return {**self._identity(), **size, "annotations": list(annotations)}

    def _identity(self) -> dict[str, Any]:
        """File name, and the frames for a part of a video."""
        return {"file_name": self.source.name, **self.source.position}


def coco_annotation(box: NDArray[np.floating], score: float) -> dict[str, Any]:
    """Common fields of COCO's annotations, from a box x1, y1, x2, y2."""
    x1, y1, x2, y2 = box.astype(float)
    width, height = x2 - x1, y2 - y1
    return {
        "score": rounded(score, 4),
        "bbox": rounded((x1, y1, width, height), 2),
        "area": rounded(width * height, 2),
        "iscrowd": 0,
    }


def write_json(
    path: Path, entries: Iterable[dict[str, Any]], categories: list[dict[str, Any]] | None
) -> None:
    """Write predictions to one file: in COCO's format if there are categories, else as a list.

    In COCO's format images and annotations are numbered from 1. Annotations have scores:
    `pycocotools.coco.COCO` reads the file as a dataset, `loadRes` its annotations as results.

    Args:
        path: The file; it is replaced once the new content is complete.
        entries: Results of `Prediction.to_dict`. In COCO's format they are iterated twice, so that
            they need not be in memory, unless they are an iterator.
        categories: Result of `Prediction.categories`.

    Raises:
        UserError: The file cannot be written.
    """
    if categories is None:
        write_parts(path, _json_list(entries))
        return
    if isinstance(entries, Iterator):
        entries = list(entries)
    images = (
        {"id": number, **{key: entry[key] for key in entry if key != "annotations"}}
        for number, entry in enumerate(entries, start=1)
    )
    numbered = (
        {"image_id": number, **annotation}
        for number, entry in enumerate(entries, start=1)
        for annotation in entry["annotations"]
    )
    annotations = ({"id": number, **entry} for number, entry in enumerate(numbered, start=1))
    parts = (
        [b'{"images": '],
        _json_list(images),
        [b', "annotations": '],
        _json_list(annotations),
        [b', "categories": ', dump_line(categories), b"}"],
    )
    write_parts(path, chain(*parts))


def dump_line(entry: Any) -> bytes:
    """Return plain data as a line of JSON."""
    # Bytes of a file name that are not UTF-8 are lone surrogates, which JSON can only escape.
    return json.dumps(entry, ensure_ascii=False).encode(errors="backslashreplace")


def _json_list(values: Iterable[Any]) -> Iterator[bytes]:
    yield b"["
    for index, value in enumerate(values):
        yield (b", " if index else b"") + dump_line(value)
    yield b"]"


def class_name(meta: Mapping[str, Any], label: int) -> str:
    """Return the name of a class, 'class N' if the dataset has none."""
    classes = meta.get("classes") or ()
    return str(classes[label]) if label < len(classes) else f"class {label}"


def class_colours(meta: Mapping[str, Any], count: int) -> list[Colour]:
    """Return RGB colours of at least `count` classes, the dataset's own if it has enough."""
    palette = meta.get("palette")
    if not isinstance(palette, Sequence) or len(palette) < count:
        palette = distinct_colours(count)
    return as_colours(palette)


def as_colours(colours: Iterable[Iterable[Any]]) -> list[Colour]:
    """Convert rows of any numbers to colours that OpenCV takes."""
    return [(int(red), int(green), int(blue)) for red, green, blue in colours]


def as_array(values: Any) -> NDArray[Any]:
    """Convert a tensor on any device, boxes of mmdet, or anything that numpy takes."""
    values = getattr(values, "tensor", values)
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def rounded(values: Any, digits: int) -> list[Any]:
    """Convert an array to a list of rounded numbers."""
    return np.asarray(values, dtype=np.float64).round(digits).tolist()
