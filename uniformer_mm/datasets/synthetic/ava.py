"""Synthetic dataset of spatio-temporal action detection in the format of AVA.

Every video has two or three shapes over a static background. Each moves in a direction of its own,
which is its action. As in the synthetic Kinetics, a single frame does not tell it.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.synthetic.dataset import SyntheticDataset
from uniformer_mm.datasets.synthetic.drawing import FloatArray, Rng, encode_jpeg
from uniformer_mm.datasets.synthetic.kinetics import AXES, DISTANCE, ClipScene
from uniformer_mm.datasets.synthetic.kinetics import CLASSES as DIRECTIONS

CLASSES: tuple[str, ...] = ("background", *DIRECTIONS)
"""Actions in the order of their numbers; 0 is no action."""

NUM_FRAMES = 20
FRAMES_PER_SECOND = 10
TIMESTAMP = 1
"""Second of the annotated frame."""

KEY_FRAME = TIMESTAMP * FRAMES_PER_SECOND + 1
"""Its index from 0: mmaction2 adds the 1 from which files are numbered twice."""

JITTER = 0.04
"""Standard deviation of the proposals' corners, in sides of the box."""


class ActionScene(ClipScene):
    """The shapes of a clip, each with a direction.

    Attributes:
        actions: Action (N,) of each shape, from 1.
    """

    def __init__(self, image_size: int, rng: Rng) -> None:
        """Choose directions and speeds."""
        super().__init__(image_size, rng)
        self.actions: NDArray[np.int64] = rng.integers(1, len(CLASSES), len(self.shapes))
        distances = self.shorter_side * rng.uniform(*DISTANCE, len(self.shapes))
        signs = np.where(self.actions % 2, 1, -1)
        directions = np.array(AXES)[(self.actions - 1) // 2] * signs[:, None]
        self._velocities = directions * distances[:, None] / (NUM_FRAMES - 1)

    def offsets(self, index: int) -> FloatArray:
        """Displacement (N, 2) of the shapes in a frame from the annotated one, in pixels."""
        return (self._velocities * (index - KEY_FRAME)).astype(np.float32)

    def boxes(self) -> NDArray[np.float64]:
        """Boxes (N, 4) in the annotated frame as x1, y1, x2, y2, in shares of its sides."""
        height, width = self.image.shape[:2]
        corners = [
            np.concatenate((outline.min(axis=0), outline.max(axis=0))) for outline, _ in self.shapes
        ]
        return (np.stack(corners) / (width, height, width, height)).clip(0, 1).astype(np.float64)


class SyntheticAva(SyntheticDataset):
    """Folders of frames in `rawframes`, and lists, classes and proposals as AVA has them."""

    generator = "uniformer_mm.datasets.synthetic.ava"
    version = 1
    splits = ("train", "val")

    def sample_files(self, split: str, index: int) -> list[str]:
        """The frames."""
        folder = f"rawframes/{_video(split, index)}"
        return [f"{folder}/img_{number:05d}.jpg" for number in range(1, NUM_FRAMES + 1)]

    def split_files(self, split: str) -> list[str]:
        """Annotations, excluded timestamps, proposals, and the classes."""
        return [
            f"ava_{split}.csv",
            f"ava_{split}_excluded_timestamps.csv",
            f"ava_proposals_{split}.pkl",
            "ava_action_list.pbtxt",
        ]

    def write_sample(self, paths: list[Path], index: int, rng: Rng) -> Any:
        """Write the frames; return the name of the video, its boxes, actions and proposals."""
        scene = ActionScene(self.image_size, rng)
        seed = int(rng.integers(2**32))
        for number, path in enumerate(paths):
            frame = scene.frame(scene.offsets(number), seed)
            path.write_bytes(encode_jpeg(frame.astype(np.float32)))
        boxes = scene.boxes()
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        proposals = (boxes + JITTER * sides * rng.standard_normal(boxes.shape)).clip(0, 1)
        scores = rng.uniform(0.95, 1, (len(boxes), 1))
        return paths[0].parent.name, boxes, scene.actions, np.hstack((proposals, scores))

    def write_annotations(self, paths: list[Path], split: str, records: list[Any]) -> None:
        """Write the files of a split."""
        lines = [
            f"{video},{TIMESTAMP:04d},{','.join(f'{side:.4f}' for side in box)},{action},{person}\n"
            for video, boxes, actions, _ in records
            for person, (box, action) in enumerate(zip(boxes, actions, strict=True))
        ]
        paths[0].write_text("".join(lines))
        paths[1].write_text("")
        proposals = {f"{video},{TIMESTAMP:04d}": found for video, _, _, found in records}
        paths[2].write_bytes(pickle.dumps(proposals))
        items = [
            f'label {{\n  name: "{name}"\n  label_id: {number}\n  label_type: PERSON_MOVEMENT\n}}\n'
            for number, name in enumerate(CLASSES)
            if number
        ]
        paths[3].write_text("".join(items))


def _video(split: str, index: int) -> str:
    return f"{split}_{index + 1:06d}"
