"""Compare the size of each image that is loaded with the one that its annotations state."""

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mmengine import fileio
from mmengine.dataset import Compose

from uniformer_mm.errors import UserError

if TYPE_CHECKING:  # the tools start without mmcv, and say what to install
    from mmcv.transforms import LoadImageFromFile

COCO_KINDS = ("CocoDataset", "BaseCocoStyleDataset")
"""Classes of mmdet and mmpose for files in COCO's format; others derive from them."""

ORIENTATION = 274
"""EXIF's tag; from 5 on width and height are exchanged."""


class CheckedLoading:
    """Loads an image, and compares its size with the stated one.

    Args:
        loader: The transform that loads; its class says how.
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
        if stated and loaded is not None and tuple(loaded["ori_shape"][:2]) != stated:
            shape = tuple(loaded["ori_shape"][:2])
            path = loaded["img_path"]
            raise UserError(
                f"{path} has {_pixels(shape)} pixels, but {' or '.join(self.files)} states"
                f" {_pixels(stated)} for it: {self._cause(path, shape, stated)}"
            )
        return loaded

    def _cause(self, path: str, shape: tuple[int, ...], stated: tuple[int, ...]) -> str:
        """Why sizes differ, most likely, and what to do."""
        from PIL import Image

        if shape[::-1] == stated:
            backend_args = getattr(self.loader, "backend_args", None)
            with Image.open(io.BytesIO(fileio.get(path, backend_args=backend_args))) as image:
                orientation, stored = image.getexif().get(ORIENTATION, 1), image.size[::-1]
            if orientation < 5:
                return "width and height are exchanged. Correct them, and look at the boxes"
            if shape == stored:
                return (
                    f"the EXIF orientation {orientation} of the image turns it, which this loader"
                    " leaves out. Load it with color_type='color' and imdecode_backend='cv2'"
                )
            return (
                f"the EXIF orientation {orientation} turns the image when it is loaded, but its"
                " annotations are for the pixels as they are stored. Annotate the image as it is"
                " shown, or remove the orientation from the file"
            )
        ratio = shape[0] / stated[0]
        if abs(shape[1] - ratio * stated[1]) <= 1 + ratio:
            return (
                f"it has {ratio:.3g} times the size for which it is annotated. Take the image that"
                " was annotated, or scale the annotations"
            )
        return "it was cropped or exchanged after it was annotated, or the file is wrong"


def check_image_sizes(dataset: Any) -> list[str]:
    """Let a dataset of COCO's format, in any wrapper, check images when it loads them.

    Loaders that are not of mmcv or mmpose stay as they are.

    Args:
        dataset: A dataset that has been built, changed in place.

    Returns:
        Its annotation files; empty if it is of another format.
    """
    inner = [dataset.dataset] if hasattr(dataset, "dataset") else getattr(dataset, "datasets", [])
    files = [file for part in inner for file in check_image_sizes(part)]
    if any(kind.__name__ in COCO_KINDS for kind in type(dataset).__mro__):
        files = [str(dataset.ann_file)]
    if files:
        for loader in _loaders(getattr(dataset, "pipeline", None)):
            loader.transform = CheckedLoading(loader, files)
    return files


def _loaders(part: Any) -> Iterator["LoadImageFromFile"]:
    """Transforms that load images, at any depth of a pipeline."""
    from mmcv.transforms import BaseTransform, LoadImageFromFile

    if isinstance(part, LoadImageFromFile):
        if type(part).__module__.split(".")[0] in ("mmcv", "mmpose"):
            yield part
    elif isinstance(part, BaseTransform | Compose):
        yield from _loaders(vars(part))
    elif isinstance(part, dict):
        yield from _loaders(list(part.values()))
    elif isinstance(part, list | tuple):
        for inner in part:
            yield from _loaders(inner)


def _stated_shape(results: dict[str, Any]) -> tuple[int, ...] | None:
    """Height and width as mmdet or mmpose states them before an image is loaded, if they do."""
    if "img" in results:
        return None
    if "height" in results and "width" in results:
        return results["height"], results["width"]
    return tuple(results["img_shape"][:2]) if "img_shape" in results else None


def _pixels(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
