"""Draw predictions next to the ground truth while testing or validating."""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine import fileio
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from numpy.typing import NDArray
from torch import Tensor

from uniformer_mm.datasets.error_context import PATH_KEYS
from uniformer_mm.datasets.media import Clip, Frame, Image, write_image
from uniformer_mm.visualization import (
    ClassScores,
    Detections,
    LabelMap,
    PersonActions,
    Persons,
    Prediction,
)
from uniformer_mm.visualization.class_scores import set_probabilities
from uniformer_mm.visualization.result_folder import stems_of


class DrawPredictionsHook(Hook):
    """Draws predictions of any task, in the style of `tools/infer.py`, next to the ground truth.

    The opacity of masks, label maps and skeletons is the config's `visualizer.alpha`, if given.

    One hook for all tasks, in place of the codebases' own: mmseg's has no output folder, mmpose's
    draws an image per person and no ground truth, mmpretrain's draws cropped images and fails with
    test-time augmentation, mmaction2's fails on clips, and in mmdet's and mmpose's output images of
    the same name in different folders replace each other.

    Predictions of other types, such as panoptic segmentation, are drawn by the run's visualizer.

    Args:
        enable: Whether to draw.
        interval: Draw one sample of every so many batches while validating; of all while testing.
        threshold: Score threshold; by default that of `tools/infer.py`.
        show: Open a window.
        wait_time: Seconds to show a window for; 0 waits for a key.
        out_dir: Folder for JPEG files, named after the samples' files; by default the backends of
            the visualizer store the images.
    """

    def __init__(
        self,
        enable: bool = False,
        interval: int = 50,
        threshold: float | None = None,
        show: bool = False,
        wait_time: float = 2.0,
        out_dir: str | None = None,
    ) -> None:
        self.enable = enable
        self.interval = interval
        self.threshold = threshold
        self.show = show
        self.wait_time = wait_time
        self.out_dir = out_dir
        self._persons: list[BaseDataElement] = []
        self._due: set[str] = set()
        self._dataset: Any = None
        self._annotations: Any = None
        self._names: dict[str, str] = {}

    def before_val(self, runner: Runner) -> None:
        """Name the samples of the dataset."""
        self._use(runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Name the samples of the dataset."""
        self._use(runner.test_dataloader.dataset)

    def _use(self, dataset: Any) -> None:
        if self.enable and hasattr(dataset, "get_data_info"):
            infos = map(dataset.get_data_info, range(len(dataset)))
            self._names = distinct_names({path for info in infos if (path := path_of(info))})
        self._dataset = dataset

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draw the first sample of some batches; of persons, choose its image."""
        is_due = self.enable and batch_idx % self.interval == 0
        if self.enable and prediction_type(outputs[0]) is Persons:
            self._collect(outputs)
            self._due.update([outputs[0].img_path] if is_due else ())
        elif is_due:
            self._draw_batch(runner, batch_idx, data_batch, outputs[:1])

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draw all samples of a batch, but collect persons."""
        if self.enable and prediction_type(outputs[0]) is Persons:
            self._collect(outputs)
            self._due.update(sample.img_path for sample in outputs)
        elif self.enable:
            self._draw_batch(runner, batch_idx, data_batch, outputs)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Draw all persons of the chosen images."""
        self._draw_persons(runner)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Draw all persons of each image."""
        self._draw_persons(runner)

    def _collect(self, samples: Sequence[Any]) -> None:
        """Keep persons, those of an image may be in several batches and processes."""
        for sample in samples:
            data = {key: sample.get(key) for key in ("pred_instances", "gt_instances")}
            metainfo = {"img_id": sample.img_id, "img_path": sample.img_path}
            data = {key: value for key, value in data.items() if value is not None}
            self._persons.append(BaseDataElement(metainfo=metainfo, **data))

    def _draw_persons(self, runner: Runner) -> None:
        gathered = all_gather_object((self._persons, self._due)) if self.enable else []
        self._persons, self._due = [], set()
        due = set().union(*(paths for _, paths in gathered))
        images: dict[str, list[BaseDataElement]] = defaultdict(list)
        for sample in chain.from_iterable(samples for samples, _ in gathered):
            if sample.img_path in due:
                images[sample.img_path].append(sample)
        if not images or not is_main_process():
            return
        self._annotations = None
        if getattr(self._dataset, "bbox_file", None):  # boxes of a detector have no ground truth
            from xtcocotools.coco import COCO

            self._annotations = COCO(self._dataset.ann_file)
        for path, samples in images.items():
            self._draw(runner, Frame(self._name(path), read_image(path)), samples)

    def _draw_batch(
        self, runner: Runner, batch_idx: int, data_batch: Any, samples: Sequence[Any]
    ) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        set_probabilities(model, samples)
        for index, sample in enumerate(samples):
            path = path_of(sample)
            name = self._name(path) if path else f"batch_{batch_idx}_sample_{index}"
            if path and "img_path" in sample:
                source: Frame | Clip = Frame(name, read_image(path))
            else:
                source = input_source(name, data_batch["inputs"][index])
            self._draw(runner, source, [sample])

    def _draw(self, runner: Runner, source: Frame | Clip, samples: Sequence[Any]) -> None:
        visualizer = runner.visualizer
        kind = prediction_type(samples[0])
        # `runner.iter` would build the training set, which tests do not need.
        step = runner.message_hub.get_info("iter", 0)
        if kind is None:
            image = source.image if isinstance(source, Frame) else source.sample_frames(1)[0]
            visualizer.add_datasample(
                source.name.replace("/", "_"),
                image[..., ::-1],
                data_sample=samples[0],
                show=self.show,
                wait_time=self.wait_time,
                out_file=self.out_dir and str(Path(self.out_dir, f"{source.name}.jpg")),
                step=step,
            )
            return
        threshold = kind.default_threshold if self.threshold is None else self.threshold
        prediction = kind.from_samples(source, samples, visualizer.dataset_meta or {}, threshold)
        ground_truth = self._ground_truth(prediction, samples)
        alpha = (runner.cfg.get("visualizer") or {}).get("alpha")
        for drawn in (prediction, ground_truth):
            if alpha is not None and drawn is not None:
                drawn.opacity = alpha
        image = prediction.compare(ground_truth)
        if self.show:
            visualizer.show(image[..., ::-1], win_name=source.name, wait_time=self.wait_time)
        if self.out_dir:
            write_image(Path(self.out_dir, f"{source.name}.jpg"), image)
        elif not self.show:
            visualizer.add_image(source.name.replace("/", "_"), image[..., ::-1], step=step)

    def _ground_truth(self, prediction: Prediction, samples: Sequence[Any]) -> Prediction | None:
        source, meta = prediction.source, prediction.meta
        if self._annotations is None:
            return type(prediction).from_ground_truth(source, samples, meta)
        numbers = self._annotations.getAnnIds(samples[0].img_id, iscrowd=False)
        return Persons.from_annotations(source, self._annotations.loadAnns(numbers), meta)

    def _name(self, path: str) -> str:
        return self._names.get(path) or Path(path).stem


def prediction_type(sample: Any) -> type[Prediction] | None:
    """Return the type of the predictions in a data sample; None if it is of another task."""
    if "pred_panoptic_seg" in sample:
        return None
    if "pred_instances" in sample:
        instances = sample.pred_instances
        if "keypoints" in instances:
            return Persons if np.shape(instances.keypoints)[-1] == 2 else None
        if set(instances.keys()) == {"bboxes", "scores"} and instances.scores.dim() == 2:
            return PersonActions
        return Detections if {"bboxes", "scores", "labels"} <= set(instances.keys()) else None
    if "pred_sem_seg" in sample:
        return LabelMap
    return ClassScores if "pred_score" in sample else None


def path_of(sample: Any) -> str | None:
    """Return the path of a sample's file, or None."""
    return next((sample.get(key) for key in PATH_KEYS if sample.get(key)), None)


def distinct_names(paths: Iterable[str]) -> dict[str, str]:
    """Return short names of files by path: without the folder in common and, if unique, suffix."""
    absolute = {path: os.path.abspath(path) for path in paths}
    if not absolute:
        return {}
    root = os.path.commonpath({os.path.dirname(path) for path in absolute.values()})
    relative = {given: os.path.relpath(path, root) for given, path in absolute.items()}
    names = stems_of(relative.values())
    return {path: names[name] for path, name in relative.items()}


def read_image(path: str) -> Image:
    """Read an image, BGR, through any of mmengine's file backends."""
    content = np.frombuffer(fileio.get(path), np.uint8)
    return cv2.imdecode(content, cv2.IMREAD_COLOR).astype(np.uint8, copy=False)


def input_source(name: str, inputs: Tensor) -> Frame | Clip:
    """Convert an input before preprocessing: an image, BGR, or the first view of a clip, RGB.

    Args:
        name: Of the sample.
        inputs: (3, H, W), (T, 3, H, W), (3, T, H, W) of more than 3 frames, or
            (views, 3, T, H, W).
    """
    if inputs.dim() == 3:
        return Frame(name, pixels(inputs.movedim(0, -1)))
    if inputs.dim() == 5:
        frames = inputs[0].movedim(0, -1)
    else:
        frames = inputs.movedim(1 if inputs.shape[1] == 3 else 0, -1)
    return Clip(name, images=pixels(frames)[..., ::-1])


def pixels(values: Tensor) -> NDArray[np.uint8]:
    """Convert pixels to an array."""
    return values.cpu().numpy().astype(np.uint8)
