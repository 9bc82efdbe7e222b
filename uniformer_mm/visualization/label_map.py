"""Semantic segmentation: a class for every pixel."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from uniformer_mm.datasets.media import Frame, Image, bgr_to_rgb
from uniformer_mm.visualization.drawing import (
    Colour,
    Label,
    above_legend,
    blend,
    draw_labels,
    inner_point,
)
from uniformer_mm.visualization.prediction import (
    Prediction,
    as_array,
    class_colours,
    class_name,
    rounded,
)
from uniformer_mm.writing import write_whole

IGNORED = np.iinfo(np.uint16).max
"""Label of the pixels of the ground truth that have no class."""

MIN_NAMED_SHARE = 0.02
"""Share of the image above which a class is named in a frame of a video."""


class LabelMap(Prediction):
    """Semantic segmentation.

    Attributes:
        labels: (H, W), indices of classes.
    """

    default_threshold = 0.0
    opacity = 0.6

    source: Frame
    labels: NDArray[np.uint16]

    @classmethod
    def from_samples(
        cls, source: Any, samples: Sequence[Any], meta: Mapping[str, Any], threshold: float
    ) -> "LabelMap":
        """From mmseg's SegDataSample; every pixel has a class, the threshold has no effect."""
        (sample,) = samples
        prediction = cls(source, meta)
        prediction.labels = as_array(sample.pred_sem_seg.data)[0].astype(np.uint16)
        return prediction

    @classmethod
    def from_ground_truth(
        cls, source: Any, samples: Sequence[Any], meta: Mapping[str, Any]
    ) -> "LabelMap | None":
        """From mmseg's SegDataSample; labels that are not a class are ignored."""
        (sample,) = samples
        if "gt_sem_seg" not in sample:
            return None
        ground_truth = cls(source, meta)
        ground_truth.is_ground_truth = True
        labels = as_array(sample.gt_sem_seg.data).squeeze()
        is_class = labels < len(meta.get("classes") or range(255))
        ground_truth.labels = np.where(is_class, labels, IGNORED).astype(np.uint16)
        return ground_truth

    def draw(self) -> Image:
        """Tint the image, and add a legend below."""
        palette = self._palette()
        present = sorted(label for label, _ in self._shares())
        entries = [(class_name(self.meta, label), palette[label]) for label in present]
        return bgr_to_rgb(above_legend(self._tinted(bgr_to_rgb(self.source.image)), entries))

    def _scale(self, x: float, y: float) -> None:
        size = self.source.image.shape[1::-1]
        self.labels = cv2.resize(self.labels, size, interpolation=cv2.INTER_NEAREST)  # type: ignore[assignment]

    def _draw(self, image: Image) -> Image:
        """Tint the image, and name the larger areas."""
        palette = self._palette()
        names = [
            Label(class_name(self.meta, label), *inner_point(self.labels == label), palette[label])
            for label, share in self._shares()
            if share >= MIN_NAMED_SHARE
        ]
        return draw_labels(self._tinted(image), names)

    def to_dict(self) -> dict[str, Any]:
        """Return the classes of the image and their shares of it, by descending share."""
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

    def _palette(self) -> list[Colour]:
        largest = int(self.labels.max(initial=0, where=self.labels != IGNORED))
        return class_colours(self.meta, max(len(self.meta.get("classes") or ()), largest + 1))

    def _shares(self) -> list[tuple[int, float]]:
        labels, counts = np.unique(self.labels[self.labels != IGNORED], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return [(int(labels[i]), float(counts[i] / self.labels.size)) for i in order]

    def _tinted(self, image: Image) -> Image:
        """Lay the colours of the classes over an RGB image."""
        has_class = self.labels != IGNORED
        colours = np.array(self._palette(), np.float32)[np.where(has_class, self.labels, 0)]
        return blend(image, colours, self.opacity * has_class[..., None])
