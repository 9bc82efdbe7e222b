"""A class for every pixel."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from uniformer_mm.datasets.media import Frame, Image, swapped
from uniformer_mm.visualization.drawing import Label, inner_point, write_labels
from uniformer_mm.visualization.prediction import (
    Prediction,
    as_array,
    class_colours,
    class_name,
    rounded,
)
from uniformer_mm.writing import write_whole

OPACITY = 0.6
NAMED_SHARE = 0.02
"""Part of the image from which on a class is named in a frame of a video."""


class LabelMap(Prediction):
    """The class of every pixel of an image.

    Attributes:
        labels: (H, W), indices of classes.
    """

    default_threshold = 0.0

    source: Frame
    labels: NDArray[np.uint16]

    @classmethod
    def from_samples(
        cls, source: Any, samples: Sequence[Any], meta: Mapping[str, Any], threshold: float
    ) -> "LabelMap":
        """From mmseg's SegDataSample; every pixel has a class, whatever the threshold."""
        (sample,) = samples
        prediction = cls(source, meta)
        prediction.labels = as_array(sample.pred_sem_seg.data)[0].astype(np.uint16)
        return prediction

    def draw(self) -> Image:
        """Colours over the image, and a legend below."""
        return self._tinted(self.source.image, with_legend=True)

    def draw_on(self, image: Image) -> Image:
        """Colours over the image, and names in the larger areas."""
        canvas = swapped(self._tinted(image, with_legend=False))
        names = []
        for label, share in self._shares():
            if share >= NAMED_SHARE:
                x, y = inner_point(self.labels == label)
                names.append(Label(class_name(self.meta, label), x, y, self._palette()[label]))
        return swapped(write_labels(canvas, names))

    def to_dict(self) -> dict[str, Any]:
        """The classes of the image and which part of it they take, the largest first."""
        height, width = self.labels.shape
        classes = [
            {"label": label, "class": class_name(self.meta, label), "share": rounded(share, 4)}
            for label, share in self._shares()
        ]
        return {**self._identity(), "height": height, "width": width, "classes": classes}

    def save_labels(self, path: Path) -> None:
        """Write a PNG file whose pixels are indices of classes, with the palette in it.

        With more than 256 classes it has 16 bits and no palette.

        Raises:
            UserError: The file cannot be written.
        """
        palette = self._palette()
        if len(palette) > 256:
            image = PillowImage.fromarray(self.labels)
        else:
            image = PillowImage.fromarray(self.labels.astype(np.uint8))
            image.putpalette(np.array(palette, np.uint8).tobytes())
        buffer = BytesIO()
        image.save(buffer, format="PNG")
        write_whole(path, buffer.getvalue())

    def _palette(self) -> list[tuple[int, int, int]]:
        classes = self.meta.get("classes") or ()
        return class_colours(self.meta, max(len(classes), int(self.labels.max()) + 1))

    def _shares(self) -> list[tuple[int, float]]:
        labels, counts = np.unique(self.labels, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return [(int(labels[i]), float(counts[i] / self.labels.size)) for i in order]

    def _tinted(self, image: Image, with_legend: bool) -> Image:
        from uniformer_mm.engine.hooks.segmentation_pictures import paint

        palette = self._palette()
        names = [class_name(self.meta, label) for label in range(len(palette))]
        canvas = swapped(image)
        painted = paint(canvas, [self.labels], names, palette, OPACITY)
        return swapped(painted if with_legend else painted[: len(image)])
