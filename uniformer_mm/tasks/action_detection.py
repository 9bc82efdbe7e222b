"""Spatio-temporal action detection on AVA, with mmaction2 and mmdet."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine.config import Config

from uniformer_mm.datasets.overrides import (
    annotation_files,
    dataset_configs,
    evaluators,
    set_num_classes,
)
from uniformer_mm.datasets.synthetic.ava import (
    CLASSES,
    FRAMES_PER_SECOND,
    NUM_FRAMES,
    SyntheticAva,
)
from uniformer_mm.errors import UserError
from uniformer_mm.tasks.mmaction import Video
from uniformer_mm.tasks.short_run import ShortRun, scale_sizes
from uniformer_mm.visualization import PersonActions

MODEL_SIZE = 80
"""Shorter side of the model's synthetic inputs, in pixels."""

CLIP = {"clip_len": 8, "frame_interval": 2}

FILES = ("exclude_file", "label_file", "proposal_file")
"""Settings of a dataset that are files and not relative to its `data_root`."""

COLUMNS = "video, second, x1, y1, x2, y2, action, person"

AVA_HELP = """\
AVA 2.1: https://research.google.com/ava. mmaction2 has scripts that download the videos, extract
their frames at 30 per second, and fetch the lists and person boxes (tools/data/ava). Layout:

{root}/
    rawframes/VIDEO/img_00001.jpg ...
    annotations/ava_train_v2.1.csv, ava_val_v2.1.csv, ava_*_excluded_timestamps_v2.1.csv,
        ava_action_list_v2.1_for_activitynet_2018.pbtxt, ava_dense_proposals_*.pkl

A line of a list is: video, second, x1, y1, x2, y2, action, person; without header, boxes in shares
of the frame, actions from 1. Your own data in this format: set these files, `fps` of the frames and
`timestamp_start`, the second of the first frame, in the three datasets.
Without any data:    --synthetic"""


class ActionDetection(Video):
    """FastRCNN with AVA's RoI head: the actions of given persons in the middle of a clip."""

    synthetic_datasets = ("AVADataset",)
    synthetic_type = SyntheticAva
    short_run = ShortRun(samples=200, iterations=240, learning_rate=5e-4, batch_size=8)
    scores = ("mAP/overall",)
    published_scores: ClassVar = {"mAP": ("mAP/overall", 100)}
    default_root = "data/ava"
    prediction_type = PersonActions
    takes_boxes = True
    output_name = None

    def data_help(self, root: str) -> str:
        """Explain source, frames and lists of AVA."""
        return AVA_HELP.format(root=root.rstrip("/") or self.default_root)

    def adapt_to_synthetic_data(self, cfg: Config, root: Path) -> None:
        """Use its shapes as persons, whose directions are their actions."""
        for split, dataset in dataset_configs(cfg):
            source = "train" if split == "train" else "val"
            dataset.update(
                data_root="",
                ann_file=f"{root}/ava_{source}.csv",
                proposal_file=f"{root}/ava_proposals_{source}.pkl",
                data_prefix={"img": f"{root}/rawframes"},
                num_classes=len(CLASSES),
                metainfo={"classes": CLASSES},
                fps=FRAMES_PER_SECOND,
                timestamp_start=0,
                timestamp_end=NUM_FRAMES // FRAMES_PER_SECOND,
                **_lists(root, source),
            )
            # A flip makes left of right.
            pipeline = [step for step in dataset["pipeline"] if step["type"] != "Flip"]
            scale_sizes(pipeline, MODEL_SIZE / 256)
            pipeline[0].update(CLIP)
            dataset["pipeline"] = pipeline
        for _, metric in evaluators(cfg):
            metric.update(
                ann_file=f"{root}/ava_val.csv", num_classes=len(CLASSES), **_lists(root, "val")
            )
        set_num_classes(cfg.model, len(CLASSES))
        cfg.model.roi_head.bbox_head.update(dropout_ratio=0.0, topk=(1,))

    def check_data(self, cfg: Config, splits: Sequence[str]) -> None:
        """Check that the files of the datasets exist, and every line of the lists."""
        actions = cfg.model.roi_head.bbox_head.num_classes
        for _, dataset, path in annotation_files(cfg, splits):
            for name in FILES:
                file = dataset.get(name)
                if file and "://" not in file and not Path(file).is_file():
                    raise UserError(f"no {name} {file}\n{self.data_help('')}")
            check_list(path, actions)

    def frame_rate(self, cfg: Config) -> float | None:
        """Frame rate that the frames of the test dataset were extracted at."""
        rates = [data.get("fps", 30) for split, data in dataset_configs(cfg) if split == "test"]
        return rates[0] if rates else None

    def pipeline_inputs(self, source: Any, meta: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the frames of a clip, and its boxes in shares of the frame; all of it by default.

        The boxes stand for the ground truth as well, without which mmaction2 packs none.
        """
        (inputs,) = super().pipeline_inputs(source, meta)
        height, width = source.image.shape[:2]
        whole = np.array([[0, 0, width, height]], np.float32)
        boxes = (whole if source.boxes is None else source.boxes) / (width, height, width, height)
        middle = {"fps": 1, "timestamp": inputs["total_frames"] // 2, "timestamp_start": 0}
        labels = np.zeros(len(boxes), np.int64)
        return [inputs | middle | {"proposals": boxes, "gt_bboxes": boxes, "gt_labels": labels}]

    def finish(self, model: Any, samples: Sequence[Any]) -> None:
        """Keep the scores, which are probabilities."""


def check_list(path: str, num_classes: int) -> None:
    """Check a list of boxes and actions in AVA's format.

    Raises:
        UserError: It cannot be read, or a line has a fault.
    """
    try:
        with open(path, newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    if not rows:
        raise UserError(f"{path} is empty: expected lines of {COLUMNS}")
    for number, row in enumerate(rows, start=1):
        if fault := _fault(row, num_classes):
            raise UserError(f"{path}, line {number}: {fault}, got {','.join(row)[:100]!r}")


def _fault(row: Sequence[str], num_classes: int) -> str | None:
    """Say what is wrong with a line."""
    if len(row) != 8:
        return f"expected {COLUMNS}"
    try:
        int(row[1]), int(row[7])
        box, action = [float(value) for value in row[2:6]], int(row[6])
    except ValueError:
        return f"expected numbers after the video: {COLUMNS}"
    if not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
        return "the box must have x1 < x2 and y1 < y2, in shares of the frame from 0 to 1"
    if not 0 < action < num_classes:
        return (
            f"the action must be from 1 to {num_classes - 1}, by num_classes={num_classes} of"
            " model.roi_head.bbox_head, which counts 0 for no action"
        )
    return None


def _lists(root: Path, split: str) -> dict[str, str]:
    return {
        "exclude_file": f"{root}/ava_{split}_excluded_timestamps.csv",
        "label_file": f"{root}/ava_action_list.pbtxt",
    }
