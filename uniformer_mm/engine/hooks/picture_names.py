"""Names of pictures that differ where the images or videos do."""

import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from numpy.typing import NDArray

from uniformer_mm.visualization.result_folder import stems_of

PATHS = ("img_path", "filename", "frame_dir")
"""Where the codebases' datasets have the path of a sample's image, video or folder of frames."""


class PictureNames:
    """Gives each file of a dataset a name for its picture: that of the file, without suffix.

    Of files in several folders it holds the folders below the one that they have in common; of two
    that differ in their suffixes it holds these. All processes of a run give the same names.

    Args:
        dataset: Has the paths; of other files and without a dataset the name is that of the file.
    """

    def __init__(self, dataset: Any = None) -> None:
        self._dataset = dataset

    @cached_property
    def _names(self) -> dict[str, str]:
        return distinct_names(_paths(self._dataset))

    def __call__(self, path: str) -> str:
        """The name for a file's picture, with '/' between folders."""
        return self._names.get(path) or Path(path).stem


class NamedPictures(Hook):
    """A hook whose `names` are those of the pictures of the data that are validated or tested."""

    names = PictureNames()

    def before_val(self, runner: Runner) -> None:
        """The data loader is there now."""
        self.names = PictureNames(runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """The data loader is there now."""
        self.names = PictureNames(runner.test_dataloader.dataset)


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write an RGB image (H, W, 3) into a folder that may not be there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture[..., ::-1])


def distinct_names(paths: Iterable[str]) -> dict[str, str]:
    """Short names of files by their paths."""
    whole = {path: os.path.abspath(path) for path in paths}
    if not whole:
        return {}
    root = os.path.commonpath({os.path.dirname(path) for path in whole.values()})
    relative = {given: os.path.relpath(path, root) for given, path in whole.items()}
    names = stems_of(relative.values())
    return {path: names[name] for path, name in relative.items()}


def _paths(dataset: Any) -> set[str]:
    if not hasattr(dataset, "get_data_info"):
        return set()
    samples = (dataset.get_data_info(index) for index in range(len(dataset)))
    return {sample[key] for sample in samples for key in PATHS if key in sample}
