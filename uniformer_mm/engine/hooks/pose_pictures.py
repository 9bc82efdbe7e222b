"""Pictures of all people of an image, beside what is annotated."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine import fileio
from mmengine.dist import all_gather_object, is_main_process
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from uniformer_mm.engine.hooks.picture_names import NamedPictures


@HOOKS.register_module()
class PosePictureHook(NamedPictures):
    """Paints the annotated people on the left and the predicted ones on the right, after testing.

    It takes the place of mmpose's PoseVisualizationHook, which paints a picture per box and no
    ground truth. What a joint shows is its own score times that of its box: boxes in which the
    detector did not trust stay empty.

    Args:
        enable: Whether to do anything.
        kpt_thr: Least score of a joint that is painted.
        show: Open a window.
        wait_time: Seconds that it stays open.
        out_dir: Folder of the pictures, see `PictureNames`; None for the visualizer's own.
        interval: Of mmpose's hook, which also paints while validating; nothing is painted then.
    """

    def __init__(
        self,
        enable: bool = False,
        kpt_thr: float = 0.3,
        show: bool = False,
        wait_time: float = 0.0,
        out_dir: str | None = None,
        interval: int = 50,
    ) -> None:
        self.enable = enable
        self.kpt_thr = kpt_thr
        self.show = show
        self.wait_time = wait_time
        self.out_dir = out_dir
        self._people: list[tuple[int, str, Any]] = []

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Keep the predictions: those of one image may be in several batches."""
        if self.enable:
            self._people += [
                (sample.img_id, sample.img_path, sample.pred_instances) for sample in outputs or ()
            ]

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Paint."""
        if not self.enable:
            return
        from mmcv import imfrombytes
        from mmengine.structures import InstanceData
        from mmpose.structures import PoseDataSample
        from xtcocotools.coco import COCO

        images: dict[tuple[int, str], list[Any]] = defaultdict(list)
        for people in all_gather_object(self._people):
            for image_id, path, person in people:
                images[image_id, path].append(person)
        self._people = []
        if not is_main_process():
            return
        dataset = runner.test_dataloader.dataset
        truth = COCO(dataset.ann_file)
        runner.visualizer.set_dataset_meta(dataset.metainfo)
        for step, ((image_id, path), predicted) in enumerate(images.items()):
            annotated = [
                np.reshape(annotation["keypoints"], (-1, 3))
                for annotation in truth.loadAnns(truth.getAnnIds(image_id, iscrowd=False))
                if annotation.get("num_keypoints", 1)
            ]
            sample = PoseDataSample()
            if annotated:
                keypoints = np.array(annotated, dtype=np.float32)
                sample.gt_instances = InstanceData(
                    keypoints=keypoints[..., :2], keypoints_visible=keypoints[..., 2] / 2
                )
            sample.pred_instances = InstanceData(
                keypoints=np.concatenate([person.keypoints for person in predicted]),
                keypoints_visible=np.concatenate(
                    [person.keypoint_scores * person.bbox_scores[:, None] for person in predicted]
                ),
            )
            name = self.names(path)
            runner.visualizer.add_datasample(
                name.replace("/", "_"),
                imfrombytes(fileio.get(path), channel_order="rgb"),
                data_sample=sample,
                draw_gt=True,
                kpt_thr=self.kpt_thr,
                show=self.show,
                wait_time=self.wait_time,
                out_file=self.out_dir and str(Path(self.out_dir, f"{name}.jpg")),
                step=step,
            )
