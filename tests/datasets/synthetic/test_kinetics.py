"""The synthetic Kinetics dataset: videos, lists, and classes that differ in motion only."""

import cv2
import numpy as np
import pytest

from uniformer_mm.datasets.synthetic.kinetics import (
    AXES,
    CLASSES,
    NUM_FRAMES,
    SyntheticKinetics,
    draw_clip,
)
from uniformer_mm.datasets.video_reader import VideoReader


def clip(label, seed=0, size=64):
    return draw_clip(label, size, np.random.default_rng(seed))


def test_lists_have_the_labels_and_every_frame_is_read_back(tmp_path):
    root = SyntheticKinetics(num_train=5, num_val=1, image_size=64).make(tmp_path)
    lines = (root / "kinetics_train_videos.txt").read_text().splitlines()
    assert lines == [f"{index + 1:06d}.mp4 {index % len(CLASSES)}" for index in range(5)]
    for index in range(5):
        drawn = draw_clip(index % len(CLASSES), 64, np.random.default_rng((0, 0, index)))
        reader = VideoReader(root / f"videos_train/{index + 1:06d}.mp4")
        assert len(reader) == len(drawn) == NUM_FRAMES
        frames = reader.read(range(NUM_FRAMES))
        assert frames.shape == drawn.shape
        error = np.abs(frames.astype(float) - drawn).mean(axis=(1, 2, 3))
        assert error.max() < 8


def test_aspects_vary_and_sides_are_even():
    shapes = {clip(0, seed).shape[1:3] for seed in range(12)}
    assert {max(shape) for shape in shapes} == {64}
    assert all(min(shape) >= 48 and min(shape) % 2 == 0 for shape in shapes)
    assert {height > width for height, width in shapes} == {True, False}


# ------------------------------------------------------------------------------- motion, no stills


@pytest.mark.parametrize("axis", range(len(AXES)))
def test_the_two_directions_have_the_same_frames_in_opposite_order(axis):
    """A model that ignores the order of frames has an accuracy of 0.5 at best."""
    for seed in range(3):
        forwards, backwards = clip(2 * axis, seed), clip(2 * axis + 1, seed)
        np.testing.assert_array_equal(forwards, backwards[::-1])
        assert not np.array_equal(forwards, backwards)


def test_clips_of_all_classes_pass_through_one_frame():
    """So this frame cannot tell any of them."""
    for seed in range(2):
        frames = [{frame.tobytes() for frame in clip(label, seed)} for label in range(len(CLASSES))]
        assert set.intersection(*frames)


def test_every_frame_of_a_clip_is_another_one():
    for label in range(0, len(CLASSES), 2):
        assert len({frame.tobytes() for frame in clip(label)}) == NUM_FRAMES


def colored(frame):
    """Where the shapes are: their colors are strong, those of the background are not."""
    return cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)[..., 1] > 110


@pytest.mark.parametrize("label", range(len(CLASSES)))
def test_shapes_move_in_the_direction_that_the_class_says(label):
    named = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}
    for seed in range(4):
        frames = clip(label, seed, size=128)[[15, 24]]
        first, last = (np.argwhere(colored(frame)).mean(axis=0)[::-1] for frame in frames)
        assert (last - first) @ named[CLASSES[label]] > 3
