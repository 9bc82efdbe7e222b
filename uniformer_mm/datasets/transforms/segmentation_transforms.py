"""Transforms of segmentation pipelines. Importing this module needs mmseg."""

import io
from typing import Any

import mmengine.fileio as fileio
import numpy as np
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS
from PIL import Image

from uniformer_mm.errors import UserError


@TRANSFORMS.register_module()
class LoadLabelMap(LoadAnnotations):
    """mmseg's LoadAnnotations with errors that name the faulty file.

    mmseg does not name a broken file, trains on a map of another size than its image as if they
    matched, and wraps values above 255. The image has to be loaded before. Images outside of
    datasets have no label map and pass.

    Raises:
        UserError: The label map cannot be read, does not fit its image, or has values above 255.
    """

    def _load_seg_map(self, results: dict[str, Any]) -> None:
        if "seg_fields" not in results:  # an image of MMSegInferencer's, not of a dataset
            return
        path, image_shape = results["seg_map_path"], tuple(results["ori_shape"])
        try:
            with Image.open(io.BytesIO(fileio.get(path, self.backend_args))) as file:
                # Only the rare files of 16 or 32 bits can exceed 255.
                highest = np.asarray(file).max() if file.mode.startswith("I") else 0
            super()._load_seg_map(results)
        except FileNotFoundError as error:
            raise UserError(f"no label map {path} for image {results['img_path']}") from error
        except Exception as error:  # Pillow fails on damaged files in many ways
            reason = " ".join(str(error).split())
            raise UserError(
                f"{path} cannot be read: it is truncated, or not an image ({reason})."
                " Replace the file, or take it and its image out of the data."
            ) from error
        shape = results["gt_seg_map"].shape
        if shape != image_shape:
            raise UserError(
                f"{path} has shape {shape}, but its image {results['img_path']} {image_shape}:"
                " a label map needs one class index for each pixel of the image"
            )
        if highest > 255:
            raise UserError(
                f"{path} has the value {highest}: mmseg reads label maps with 8 bits."
                " Use indices below 255 for classes, and 255 for pixels to ignore."
            )
