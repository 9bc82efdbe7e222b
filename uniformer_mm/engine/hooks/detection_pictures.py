"""Detections drawn next to the ground truth, a file for each image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
from mmdet.engine.hooks import DetVisualizationHook
from mmengine import fileio
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from uniformer_mm.engine.hooks.picture_names import NamedPictures


@HOOKS.register_module()
class DetectionPicturesHook(NamedPictures, DetVisualizationHook):
    """mmdet's DetVisualizationHook, whose pictures of equally named images replace each other.

    Arguments are those of mmdet's hook.
    """

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any, outputs: Sequence[Any]
    ) -> None:
        """Draw the images of a batch."""
        for sample in outputs if self.draw else ():
            self._test_index += 1
            name = self.names(sample.img_path)
            self._visualizer.add_datasample(
                name.replace("/", "_") if self.show else "test_img",
                mmcv.imfrombytes(fileio.get(sample.img_path), channel_order="rgb"),
                data_sample=sample,
                show=self.show,
                wait_time=self.wait_time,
                pred_score_thr=self.score_thr,
                out_file=self.test_out_dir and str(Path(self.test_out_dir, f"{name}.jpg")),
                step=self._test_index,
            )
