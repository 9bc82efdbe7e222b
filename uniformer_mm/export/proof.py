"""Detections of an exported file next to those of the model: their match, and AP beside AP."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.registry import DATASETS, DefaultScope
from torch import Tensor

from uniformer_mm.apis.inference import Inferencer
from uniformer_mm.datasets.media import read_image
from uniformer_mm.datasets.overrides import coco_classes, missing_data, use_coco_files
from uniformer_mm.datasets.synthetic.coco import SyntheticCoco
from uniformer_mm.export.detector import paste
from uniformer_mm.export.files import Run
from uniformer_mm.visualization.label_map import LabelMap

MIN_SCORE = 0.05
"""Detections below are not compared."""

MAX_SHIFT = 0.1
"""Accepted difference of a box, in pixels."""

MAX_SCORE_DIFFERENCE = 1e-3

NUM_DRAWN = 16
"""Synthetic images, if the config's data are not there."""


class Found(NamedTuple):
    """Detections of an image in its pixels: (N, 4), (N,), (N,), and masks (N, H, W) or None."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None


class Match(NamedTuple):
    """Detections of the model that a file has as well.

    Attributes:
        expected: Number of the model's detections from `MIN_SCORE` on.
        matched: Of these, those with a detection of the file: same label, box and score.
        shift: Largest difference of a matched box, in pixels.
        score: Largest difference of a matched score.
        overlaps: Intersection over union of the masks of each match.
    """

    expected: int
    matched: int
    shift: float
    score: float
    overlaps: list[float]

    def __add__(self, other: Any) -> "Match":
        """The match on both images."""
        return Match(
            self.expected + other.expected,
            self.matched + other.matched,
            max(self.shift, other.shift),
            max(self.score, other.score),
            self.overlaps + other.overlaps,
        )

    def rows(self) -> list[dict[str, str]]:
        """The match as a table."""
        facts = {
            f"detections from score {MIN_SCORE} on": str(self.expected),
            f"of these in the file (box within {MAX_SHIFT} px, score within 0.001)": (
                str(self.matched)
            ),
            "largest difference of a box in pixels": f"{self.shift:.1e}",
            "largest difference of a score": f"{self.score:.1e}",
        }
        if self.overlaps:
            facts["IoU of masks, mean and lowest"] = (
                f"{np.mean(self.overlaps):.6f} {min(self.overlaps):.6f}"
            )
        return [{"match": name, "": fact} for name, fact in facts.items()]


NO_MATCH = Match(0, 0, 0.0, 0.0, [])


def match(ours: Found, theirs: Found) -> Match:
    """Find the detections of a model, the second, in those of a file; each counts once."""
    free = torch.ones(len(ours.scores), dtype=torch.bool)
    result = NO_MATCH
    for index in range(len(theirs.scores)):
        if theirs.scores[index] < MIN_SCORE:
            continue
        shift = (ours.boxes - theirs.boxes[index]).abs().amax(1)
        score = (ours.scores - theirs.scores[index]).abs()
        same = free & (ours.labels == theirs.labels[index])
        same &= (shift <= MAX_SHIFT) & (score <= MAX_SCORE_DIFFERENCE)
        if not same.any():
            result += Match(1, 0, 0.0, 0.0, [])
            continue
        best = int(shift.masked_fill(~same, torch.inf).argmin())
        free[best] = False
        overlaps = []
        if ours.masks is not None and theirs.masks is not None:
            a, b = ours.masks[best], theirs.masks[index]
            union = int((a | b).sum())
            overlaps = [int((a & b).sum()) / union if union else 1.0]
        result += Match(1, 1, float(shift[best]), float(score[best]), overlaps)
    return result


class Proof:
    """Comparison of a file with a detector on the images of a dataset.

    Args:
        inferencer: The model.
        masks: Form of the masks in the file.
        data: Image folder and annotation file. By default those of the config's test dataset, or
            drawn images without a score.
        limit: Number of images; None for all.
        cache: Parent folder of the drawn images.
        pictures: Whether the file takes pictures, see `pictures.Before`.

    Without the model's classes in the annotations there is a match, but no AP.

    Raises:
        UserError: The data are not there.
    """

    def __init__(
        self,
        inferencer: Inferencer,
        masks: str,
        data: tuple[str, str] | None,
        limit: int | None,
        cache: Path,
        pictures: bool = False,
    ) -> None:
        self.model = inferencer.model
        self.masks = masks
        self.pictures = pictures
        cfg = Config(inferencer.cfg.to_dict())
        self.scored = True
        if data is None and missing_data(cfg, ("test",))[1]:
            root = SyntheticCoco(1, NUM_DRAWN, 480).make(cache / "export")
            data = (f"{root}/val2017", f"{root}/annotations/instances_val2017.json")
            self.scored = False
        classes = inferencer.meta.get("classes")
        if data is not None:
            folder, annotations = data
            if self.scored and classes and coco_classes(annotations) != tuple(classes):
                self.scored = False
                print_log(f"{annotations} has other classes than the model: no AP", "current")
            split = ("train", "val")
            use_coco_files(cfg, dict.fromkeys(split, folder), dict.fromkeys(split, annotations))
        dataset = cfg.test_dataloader.dataset
        dataset.indices = limit
        if classes:
            dataset.metainfo = {"classes": tuple(classes)}
        with DefaultScope.overwrite_default_scope("mmdet"):
            self.dataset = DATASETS.build(dataset)
            self.evaluators = [Evaluator(cfg.test_evaluator) for _ in range(2)]
        for evaluator in self.evaluators:
            evaluator.dataset_meta = self.dataset.metainfo

    def __call__(self, exported: Run) -> tuple[Match, list[dict[str, str]]]:
        """Compare, and return the match, and a row for each score."""
        total = NO_MATCH
        for sample, ours, theirs in self._pairs(exported):
            total += match(ours, theirs)
            if self.scored:
                for evaluator, found in zip(self.evaluators, (theirs, ours), strict=True):
                    evaluator.process([_with(sample, found)])
        if not self.scored:
            return total, []
        model, file = (_scores(evaluator, self.dataset) for evaluator in self.evaluators)
        return total, [
            {"score": name, "PyTorch": f"{model[name]:.3f}", "file": f"{file[name]:.3f}"}
            for name in model
        ]

    def example(self) -> Tensor:
        """The normalized input of the first image."""
        return self._input(self.dataset[0])[0]

    @torch.no_grad()
    def at_sizes(self, expected: Run, exported: Run, sizes: Sequence[tuple[int, int]]) -> Match:
        """Compare a file with the exported module on the first image, resized to several sizes."""
        total = NO_MATCH
        for size in sizes:
            x = F.interpolate(self.example(), size=size, mode="bilinear")
            ours, theirs = (
                Found(boxes, scores, labels, masks[0] >= 0.5 if masks else None)
                for boxes, scores, labels, *masks in (exported(x), expected(x))
            )
            total += match(ours, theirs)
        return total

    def _picture(self, index: int) -> Tensor:
        return torch.from_numpy(read_image(self.dataset.get_data_info(index)["img_path"]))

    def _input(self, entry: Any) -> tuple[Tensor, Any, Any]:
        """An image without padding, the batch of the model, and its data samples."""
        batch = self.model.data_preprocessor(pseudo_collate([entry]), False)
        (sample,) = batch["data_samples"]
        height, width = sample.img_shape
        return batch["inputs"][..., :height, :width].contiguous(), batch["inputs"], sample

    @torch.no_grad()
    def _pairs(self, exported: Run) -> Iterator[tuple[Any, Found, Found]]:
        for index in range(len(self.dataset)):
            inputs, batch, sample = self._input(self.dataset[index])
            scale = torch.tensor(sample.scale_factor).repeat(2)
            original = sample.ori_shape
            in_input = self.masks == "image" and not self.pictures
            if in_input:  # both sides have masks of the size of the input
                sample.set_metainfo({"ori_shape": sample.img_shape, "scale_factor": (1.0, 1.0)})
            (predicted,) = self.model.predict(batch, [sample])
            theirs = _found(predicted.pred_instances)
            outputs = exported(self._picture(index) if self.pictures else inputs)
            ours = Found(*outputs, *([None] if theirs.masks is None else []))
            sample.set_metainfo({"ori_shape": original})
            if in_input:
                theirs = theirs._replace(boxes=theirs.boxes / scale)
            if not self.pictures:
                ours = ours._replace(boxes=ours.boxes / scale)
            if ours.masks is not None and self.masks == "box":
                threshold = self.model.roi_head.test_cfg.mask_thr_binary
                ours = ours._replace(masks=paste(ours.masks, ours.boxes, original) >= threshold)
            yield sample, *(_resized(found, original) for found in (ours, theirs))


def picture_differences(
    inferencer: Inferencer, exported: Run
) -> Iterator[tuple[tuple[int, int], float]]:
    """Compare a file that takes pictures with an Inferencer, on noise of several sizes.

    Yields:
        Height and width, and the largest difference of a probability, or the share of pixels with
        another class.
    """
    rng = np.random.default_rng(0)
    for height, width in ((480, 640), (375, 301), (96, 160)):
        noise = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
        picture: Any = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        predicted: Any = inferencer.predict(picture)
        (result,) = exported(torch.from_numpy(picture))
        if isinstance(predicted, LabelMap):
            yield (height, width), float((result.numpy() != predicted.labels).mean())
        else:
            yield (height, width), float(np.abs(result.numpy() - predicted.scores).max())


def _found(instances: Any) -> Found:
    return Found(instances.bboxes, instances.scores, instances.labels, instances.get("masks", None))


def _resized(found: Found, size: tuple[int, int]) -> Found:
    """Detections with masks of the size of the original image."""
    if found.masks is None or tuple(found.masks.shape[1:]) == tuple(size):
        return found
    masks = [
        cv2.resize(mask.numpy().astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
        for mask in found.masks
    ]
    shape = (len(masks), *size)
    return found._replace(masks=torch.tensor(np.array(masks, bool).reshape(shape)))


def _with(sample: Any, found: Found) -> Any:
    """A copy of a data sample with other detections."""
    from mmengine.structures import InstanceData

    facts = {"bboxes": found.boxes, "scores": found.scores, "labels": found.labels}
    if found.masks is not None:
        facts["masks"] = found.masks
    copy = sample.new()
    copy.pred_instances = InstanceData(**facts)
    return copy


def _scores(evaluator: Evaluator, dataset: Any) -> dict[str, float]:
    """AP of the images of a dataset, which may be a part of the annotated ones."""
    for metric in evaluator.metrics:
        images = metric._coco_api.imgs
        chosen = [dataset.get_data_info(index)["img_id"] for index in range(len(dataset))]
        metric._coco_api.imgs = {image: images[image] for image in chosen}
    scores = evaluator.evaluate(len(dataset))
    return {name: value for name, value in scores.items() if name.endswith("mAP")}
