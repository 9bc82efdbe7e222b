"""The base class of predictions."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.media import Image, write_image
from uniformer_mm.datasets.overrides import distinct_colours
from uniformer_mm.writing import write_parts


class Prediction(ABC):
    """What a model says about an image or a clip.

    Attributes:
        source: The image or clip.
        meta: Classes, colours and joints of the model's dataset, under mmengine's names.
    """

    default_threshold: ClassVar[float]
    """Score below which a prediction is left out unless the user says otherwise."""

    def __init__(self, source: Any, meta: Mapping[str, Any]) -> None:
        self.source = source
        self.meta = meta

    @classmethod
    @abstractmethod
    def from_samples(
        cls, source: Any, samples: Sequence[Any], meta: Mapping[str, Any], threshold: float
    ) -> "Prediction":
        """From the data samples that a model of MM returns.

        Args:
            source: The image or clip.
            samples: One, or in pose estimation one per person.
            meta: Of the model's dataset.
            threshold: Score below which predictions are left out.
        """

    @abstractmethod
    def draw_on(self, image: Image) -> Image:
        """The prediction on an image (H, W, 3), BGR; the size depends on nothing predicted."""

    def draw(self) -> Image:
        """The picture (H, W, 3), BGR."""
        return self.draw_on(self.source.image)

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The prediction as plain data."""

    @classmethod
    def categories(cls, meta: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        """Categories in COCO's format; None if predictions are not written in it."""
        return None

    def save(self, path: str | Path) -> None:
        """Write the picture, or in a file *.json the data; a file that is there is replaced.

        Raises:
            UserError: The file cannot be written, or not in the format that its name says.
        """
        if Path(path).suffix.lower() == ".json":
            write_json(Path(path), [self.to_dict()], self.categories(self.meta))
        else:
            write_image(Path(path), self.draw())

    def _identity(self) -> dict[str, Any]:
        """File name, and for a part of a video which."""
        return {"file_name": self.source.name, **self.source.position}


def write_json(
    path: Path, entries: Iterable[dict[str, Any]], categories: list[dict[str, Any]] | None
) -> None:
    """Write predictions into one file: in COCO's format if there are categories, else as a list.

    In COCO's format images and annotations are numbered from 1. The annotations have scores: the
    whole is what `pycocotools.coco.COCO` takes for a dataset, and its list of annotations what
    `loadRes` takes for results.

    Args:
        path: The file; what was there before stays until the new content is whole.
        entries: What `Prediction.to_dict` gives. In COCO's format they are gone through twice, so
            that they need not be in memory, unless they are an iterator.
        categories: What `Prediction.categories` gives.

    Raises:
        UserError: The file cannot be written.
    """
    if categories is None:
        write_parts(path, _as_list(entries))
        return
    if isinstance(entries, Iterator):
        entries = list(entries)
    write_parts(
        path,
        chain(
            [b'{"images": '],
            _as_list(_images(entries)),
            [b', "annotations": '],
            _as_list(_annotations(entries)),
            [b', "categories": ', dump_line(categories), b"}"],
        ),
    )


def dump_line(entry: Any) -> bytes:
    """Plain data as a line of JSON; names of files that are not UTF-8 survive it."""
    # What is not UTF-8 in the name of a file is a lone surrogate, which JSON can only escape.
    return json.dumps(entry, ensure_ascii=False).encode(errors="backslashreplace")


def _as_list(values: Iterable[Any]) -> Iterator[bytes]:
    separator = b"["
    for value in values:
        yield separator + dump_line(value)
        separator = b", "
    yield b"[]" if separator == b"[" else b"]"


def _images(entries: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for number, entry in enumerate(entries, start=1):
        yield {"id": number, **{key: entry[key] for key in entry if key != "annotations"}}


def _annotations(entries: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    identity = 0
    for number, entry in enumerate(entries, start=1):
        for annotation in entry["annotations"]:
            identity += 1
            yield {"id": identity, "image_id": number, **annotation}


def class_name(meta: Mapping[str, Any], label: int) -> str:
    """Name of a class, 'class N' if the dataset has none."""
    classes = meta.get("classes") or ()
    return str(classes[label]) if label < len(classes) else f"class {label}"


def class_colours(meta: Mapping[str, Any], count: int) -> list[tuple[int, int, int]]:
    """RGB colours of at least `count` classes, the dataset's own if it has enough."""
    palette = meta.get("palette")
    if not isinstance(palette, Sequence) or len(palette) < count:
        palette = distinct_colours(count)
    return [(int(red), int(green), int(blue)) for red, green, blue in palette]


def as_array(values: Any) -> NDArray[Any]:
    """A tensor on any device, or anything that numpy takes, as an array."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def rounded(values: Any, digits: int) -> list[Any]:
    """An array as a list of numbers with so many digits behind the point."""
    return np.asarray(values, dtype=np.float64).round(digits).tolist()
