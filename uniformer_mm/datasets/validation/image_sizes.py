"""Compare the size of each image that is loaded with the one that its annotations state."""

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mmengine import fileio
from mmengine.dataset import Compose

from uniformer_mm.errors import UserError

if TYPE_CHECKING:  # the tools start without mmcv, and say what to install
    from mmcv.transforms import LoadImageFromFile

COCO_TYPES = ("CocoDataset", "BaseCocoStyleDataset")
"""Base classes of datasets in COCO format of mmdet and mmpose."""

ORIENTATION = 274
"""EXIF tag; values from 5 on exchange width and height."""


class CheckedLoading:
    """Load an image and compare its size with the stated one.

    Args:
        loader: The transform that loads.
        files: Annotation files of the dataset.
    """

    def __init__(self, loader: "LoadImageFromFile", files: Sequence[str]) -> None:
        self.loader = loader
        self.files = files

    def __call__(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Load an image.

        Raises:
            UserError: It has another size.
        """
        stated = _stated_shape(results)
        loaded = type(self.loader).transform(self.loader, results)
        if stated and loaded is not None:
            shape, path = tuple(loaded["ori_shape"][:2]), loaded["img_path"]
            if shape != stated:
                raise UserError(
                    f"{path} has {shape[1]} x {shape[0]} pixels, but {' or '.join(self.files)}"
                    f" states {stated[1]} x {stated[0]} for it: {self._cause(path, shape, stated)}"
                )
        return loaded

    def _cause(self, path: str, shape: tuple[int, ...], stated: tuple[int, ...]) -> str:
        """Return the likely cause of a difference and its remedy."""
        from PIL import Image

        if shape[::-1] == stated:
            backend_args = getattr(self.loader, "backend_args", None)
            with Image.open(io.BytesIO(fileio.get(path, backend_args=backend_args))) as image:
                orientation, stored = image.getexif().get(ORIENTATION, 1), image.size[::-1]
            if orientation < 5:
                return "width and height are exchanged. Correct them, and look at the boxes"
            if shape == stored:
                return (
                    f"this loader ignores the EXIF orientation {orientation} of the image. Load it"
                    " with color_type='color' and imdecode_backend='cv2'"
                )
            return (
                f"the EXIF orientation {orientation} rotates the image when it is loaded, but its"
                " annotations are for the stored pixels. Annotate the rotated image, or remove the"
                " orientation from the file"
            )
        ratio = shape[0] / stated[0]
        if abs(shape[1] - ratio * stated[1]) <= 1 + ratio:
            return (
                f"it has {ratio:.3g} times the size for which it is annotated. Take the image that"
                " was annotated, or scale the annotations"
            )
        return "it was cropped or replaced after it was annotated, or the annotation file is wrong"


def check_image_sizes(dataset: Any) -> list[str]:
    """Make a dataset in COCO format, in any wrapper, check images when it loads them.

    Loaders that are not of mmcv or mmpose stay as they are.

    Args:
        dataset: A built dataset, changed in place.

    Returns:
        Its annotation files; empty for a dataset of another format.
    """
    inner = [dataset.dataset] if hasattr(dataset, "dataset") else getattr(dataset, "datasets", [])
    files = [file for part in inner for file in check_image_sizes(part)]
    if any(kind.__name__ in COCO_TYPES for kind in type(dataset).__mro__):
        files = [str(dataset.ann_file)]
    if files:
        for loader in _loaders(getattr(dataset, "pipeline", None)):
            loader.transform = CheckedLoading(loader, files)
    return files


def _loaders(part: Any) -> Iterator["LoadImageFromFile"]:
    """Yield transforms that load images, at any depth of a pipeline."""
    from mmcv.transforms import BaseTransform, LoadImageFromFile

    if isinstance(part, LoadImageFromFile):
        if type(part).__module__.split(".")[0] in ("mmcv", "mmpose"):
            yield part
        return
    if isinstance(part, BaseTransform | Compose):
        part = vars(part)
    if isinstance(part, dict):
        part = list(part.values())
    if isinstance(part, list | tuple):
        for inner in part:
            yield from _loaders(inner)


def _stated_shape(results: dict[str, Any]) -> tuple[int, ...] | None:
    """Return height and width as stated before an image is loaded; None if they are not."""
    if "img" in results:
        return None
    if "height" in results and "width" in results:  # mmdet
        return results["height"], results["width"]
    return tuple(results["img_shape"][:2]) if "img_shape" in results else None  # mmpose
