"""Synthetic video dataset in the format of Kinetics, whose classes differ in motion only.

In every clip a few shapes move over a static, cluttered background in one of four directions. Their
positions, sizes, angles and colors have the same distribution in every class, so a single frame
fits every class. A clip of one direction played backwards is one of the opposite direction, so even
all frames do not tell the class unless their order is known.
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.synthetic.dataset import SyntheticDataset
from uniformer_mm.datasets.synthetic.drawing import (
    SHAPES,
    FloatArray,
    Polygon,
    Rng,
    apply_camera,
    posed_outline,
    shape_color,
)
from uniformer_mm.datasets.synthetic.scene import Scene

CLASSES = ("right", "left", "down", "up")
"""Two opposite directions along each of `AXES`; the second is the first played backwards."""

AXES = ((1.0, 0.0), (0.0, 1.0))
"""Unit vectors (x, y), with y pointing down."""

NUM_FRAMES = 40
FRAMES_PER_SECOND = 20
OBJECTS_PER_CLIP = (2, 3)
OBJECT_SIZE = (0.25, 0.45)  # of the shorter side
DISTANCE = (0.4, 0.55)  # that the objects move, in shorter sides
PLACEMENT_ATTEMPTS = 30


class ClipScene(Scene):
    """The background of a clip, and the shapes that move over it.

    Attributes:
        shapes: Outline (N, 2) in the middle of its way, and color, of each shape.
    """

    side_step = 2  # video codecs require even sides

    def __init__(self, image_size: int, rng: Rng) -> None:
        """Place shapes apart from each other and not close to the border."""
        super().__init__(image_size, rng)
        self.shapes: list[tuple[FloatArray, FloatArray]] = []
        centers: list[FloatArray] = []
        for _ in range(rng.integers(*OBJECTS_PER_CLIP, endpoint=True)):
            size = self.random_size(OBJECT_SIZE)
            kind = int(rng.integers(len(SHAPES)))
            outline = posed_outline(kind, size, rng)
            for _ in range(PLACEMENT_ATTEMPTS):
                center = self.random_point(0.25 * self.shorter_side)
                if all(math.dist(center, other) > 0.35 * self.shorter_side for other in centers):
                    centers.append(center)
                    self.shapes.append((outline + center, shape_color(kind, rng)))
                    break

    def frame(self, offset: FloatArray, seed: int) -> NDArray[np.uint8]:
        """Draw a frame; exposure and noise of the camera depend on the seed only.

        Args:
            offset: Displacement of all shapes (2,), or of each (N, 2), in pixels.
            seed: Of the camera.
        """
        image = self.image.copy()
        offsets = np.broadcast_to(offset, (len(self.shapes), 2))
        for (outline, color), displacement in zip(self.shapes, offsets, strict=True):
            outline = outline + displacement
            margin = math.ceil(0.15 * float(np.ptp(outline, axis=0).max())) + 2
            Polygon(outline, image.shape, margin).draw(image, color, self.light)
        return np.rint(apply_camera(image, np.random.default_rng(seed))).astype(np.uint8)


def draw_clip(label: int, image_size: int, rng: Rng) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3), RGB, of a class; the longer side has `image_size` pixels.

    With the same state of `rng`, the clips of all classes show one scene and have one frame in
    common; opposite directions have the same frames in opposite order.
    """
    axis, backwards = divmod(label, 2)
    scene = ClipScene(image_size, rng)
    # The frame in which the shapes are in the middle of their way is that of all classes.
    moments = np.arange(NUM_FRAMES) - rng.integers(NUM_FRAMES // 4, 3 * NUM_FRAMES // 4)
    distance = scene.shorter_side * rng.uniform(*DISTANCE)
    offsets = np.outer(moments / (NUM_FRAMES - 1) * distance, AXES[axis]).astype(np.float32)
    seed = int(rng.integers(2**32))
    frames = np.stack([scene.frame(offset, seed) for offset in offsets])
    return frames[::-1] if backwards else frames


def write_video(path: Path, frames: NDArray[np.uint8]) -> None:
    """Write frames (T, H, W, 3), RGB, as MPEG-4 in an MP4 file.

    Raises:
        OSError: OpenCV cannot write it.
    """
    height, width = frames.shape[1:3]
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), codec, FRAMES_PER_SECOND, (width, height))
    if not writer.isOpened():
        raise OSError(f"OpenCV cannot write {path}: it was built without an MPEG-4 encoder")
    for frame in frames:
        writer.write(frame[..., ::-1])
    writer.release()


class SyntheticKinetics(SyntheticDataset):
    """Folders `videos_train` and `videos_val`, and lists `kinetics_*_videos.txt`."""

    generator = "uniformer_mm.datasets.synthetic.kinetics"
    version = 2
    splits = ("train", "val")

    def sample_files(self, split: str, index: int) -> list[str]:
        """The video; its label is `index` modulo the number of classes."""
        return [f"videos_{split}/{index + 1:06d}.mp4"]

    def split_files(self, split: str) -> list[str]:
        """The list."""
        return [f"kinetics_{split}_videos.txt"]

    def write_sample(self, paths: list[Path], index: int, rng: Rng) -> str:
        """Write the video; return its line in the list."""
        label = index % len(CLASSES)
        write_video(paths[0], draw_clip(label, self.image_size, rng))
        return f"{paths[0].name} {label}\n"
