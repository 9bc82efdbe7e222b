"""Pictures of images with the true and the predicted class."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmengine import fileio
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from uniformer_mm.datasets.media import swapped
from uniformer_mm.engine.hooks.video_pictures import VideoPicturesHook, captions
from uniformer_mm.visualization.drawing import resized

SHORTER_SIDE = 320
LINE_HEIGHT = 22
GAP = 4


@HOOKS.register_module()
class ClassificationPicturesHook(VideoPicturesHook):
    """Paints images as they are in their files, under their true and their predicted class.

    mmpretrain's VisualizationHook paints what the model gets, cropped, small, and with red and blue
    exchanged; it fails with test-time augmentation. Arguments are those of the hook for videos.
    """

    def _paint(self, runner: Runner, batch: str, inputs: Any, samples: Sequence[Any]) -> None:
        visualizer = runner.visualizer
        classes = (visualizer.dataset_meta or {}).get("classes")
        for sample in samples:
            name = self.names(sample.img_path)
            lines = captions(sample.gt_label.tolist(), sample.pred_score, classes)
            bar = GAP + len(lines) * LINE_HEIGHT
            image = read_enlarged(sample.img_path)
            visualizer.set_image(cv2.copyMakeBorder(image, bar, 0, 0, 0, cv2.BORDER_CONSTANT))
            for row, (text, colour) in enumerate(lines):
                position = np.array([GAP, GAP + row * LINE_HEIGHT])
                visualizer.draw_texts(text, position, font_sizes=13, colors=colour)
            self._deliver(runner, name, visualizer.get_image())


def read_enlarged(path: str) -> np.ndarray:
    """An image (H, W, 3), RGB, whose shorter side has `SHORTER_SIDE` pixels if it may."""
    pixels = np.frombuffer(fileio.get(path), np.uint8)
    image = swapped(cv2.imdecode(pixels, cv2.IMREAD_COLOR).astype(np.uint8, copy=False))
    return resized(image, SHORTER_SIDE)
