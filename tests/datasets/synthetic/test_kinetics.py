"""The synthetic Kinetics set: what is on disk, and that only motion tells its classes apart."""

import json

import cv2
import numpy as np
import pytest

from uniformer_mm.datasets.synthetic import kinetics as synthetic_kinetics
from uniformer_mm.datasets.synthetic.kinetics import (
    AXES,
    CLASSES,
    NUM_FRAMES,
    SyntheticKineticsSpec,
    draw_clip,
    make_synthetic_kinetics,
)
from uniformer_mm.datasets.video_reader import VideoReader

TINY = SyntheticKineticsSpec(num_train=9, num_val=3, image_size=64)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_synthetic_kinetics(tmp_path_factory.mktemp("sets") / "kinetics", TINY)


def snapshot(root):
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def clip(label, seed=0, size=64):
    return draw_clip(label, size, np.random.default_rng(seed))


# ---------------------------------------------------------------------------------------- on disk


def test_layout_is_that_of_mmactions_video_lists(root):
    names = {f"videos_train/{index:06d}.mp4" for index in range(1, 10)}
    names |= {f"videos_val/{index:06d}.mp4" for index in range(1, 4)}
    lists = {"kinetics_train_videos.txt", "kinetics_val_videos.txt", "synthetic.json"}
    assert set(snapshot(root)) == names | lists
    lines = (root / "kinetics_train_videos.txt").read_text().splitlines()
    assert lines == [f"{index + 1:06d}.mp4 {index % len(CLASSES)}" for index in range(9)]


def test_every_frame_is_read_back(root):
    spec = json.loads((root / "synthetic.json").read_text())["spec"]
    for index in range(9):
        rng = np.random.default_rng((spec["seed"], 0, index))
        drawn = draw_clip(index % len(CLASSES), 64, rng)
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


def test_equal_specs_give_equal_bytes_and_seeds_other_videos(root, tmp_path):
    again = make_synthetic_kinetics(tmp_path / "again", TINY)
    assert snapshot(again) == snapshot(root)
    other = make_synthetic_kinetics(tmp_path / "other", SyntheticKineticsSpec(9, 3, 64, seed=1))
    videos = [name for name in snapshot(root) if name.endswith(".mp4")]
    assert all(snapshot(other)[name] != snapshot(root)[name] for name in videos)


def test_a_video_does_not_depend_on_how_many_there_are(root, tmp_path):
    few = make_synthetic_kinetics(tmp_path / "few", SyntheticKineticsSpec(2, 1, 64))
    videos = {name: data for name, data in snapshot(few).items() if name.endswith(".mp4")}
    assert videos.items() <= snapshot(root).items()


def test_splits_have_different_videos(root):
    files = snapshot(root)
    assert files["videos_train/000001.mp4"] != files["videos_val/000001.mp4"]


def test_another_generator_version_replaces_the_set(tmp_path, monkeypatch):
    spec = SyntheticKineticsSpec(1, 1, 64)
    monkeypatch.setattr(synthetic_kinetics, "GENERATOR_VERSION", 0)
    make_synthetic_kinetics(tmp_path / "set", spec)
    monkeypatch.undo()
    make_synthetic_kinetics(tmp_path / "set", spec)
    marker = json.loads((tmp_path / "set" / "synthetic.json").read_text())
    assert marker["version"] == synthetic_kinetics.GENERATOR_VERSION


# ------------------------------------------------------------------------------- motion, no stills


@pytest.mark.parametrize("axis", range(len(AXES)))
def test_the_two_directions_have_the_same_frames_in_opposite_order(axis):
    """Whatever looks at frames without their order scores one in two at best."""
    for seed in range(3):
        forwards, backwards = clip(2 * axis, seed), clip(2 * axis + 1, seed)
        np.testing.assert_array_equal(forwards, backwards[::-1])
        assert not np.array_equal(forwards, backwards)


def test_clips_of_all_classes_pass_through_one_frame():
    """So this frame cannot tell any of them."""
    for seed in range(5):
        frames = [{frame.tobytes() for frame in clip(label, seed)} for label in range(len(CLASSES))]
        assert set.intersection(*frames)


def test_every_frame_of_a_clip_is_another_one():
    for label in range(0, len(CLASSES), 2):
        assert len({frame.tobytes() for frame in clip(label)}) == NUM_FRAMES


def coloured(frame):
    """Where the shapes are: their colours are strong, those of the background are not."""
    return cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)[..., 1] > 110


@pytest.mark.parametrize("label", range(len(CLASSES)))
def test_shapes_move_in_the_direction_that_the_class_says(label):
    named = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}
    for seed in range(4):
        frames = clip(label, seed, size=128)[[15, 24]]
        first, last = (np.argwhere(coloured(frame)).mean(axis=0)[::-1] for frame in frames)
        assert (last - first) @ named[CLASSES[label]] > 3
