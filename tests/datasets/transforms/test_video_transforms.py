"""Frames and augmentations are those of the authors' recipes."""

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.fileio import BaseStorageBackend, register_backend
from PIL import Image

from uniformer_mm.datasets.media import VideoWriter
from uniformer_mm.datasets.transforms import video_transforms
from uniformer_mm.datasets.transforms.video_transforms import (
    OPERATIONS,
    ClipRandAugment,
    SampleWindow,
    VideoReaderDecode,
    VideoReaderInit,
    operation_argument,
)

WINDOWS = [(8, 8), (16, 4), (16, 8), (32, 4)]
LENGTHS = [1, 2, 7, 31, 63, 64, 65, 100, 127, 128, 129, 250, 299, 300, 1001]


def indices(total, **options):
    results = SampleWindow(**options)({"total_frames": total, "start_index": 0})
    assert results["num_clips"] * results["clip_len"] == len(results["frame_inds"])
    return results["frame_inds"].reshape(results["num_clips"], results["clip_len"])


def published(start, total, clip_len, frame_interval):
    """PySlowFast's sampling of a decoded video, from the first frame of the window."""
    end = start + clip_len * frame_interval - 1
    index = torch.linspace(start, end, clip_len)
    return torch.clamp(index, 0, total - 1).long().numpy()


@pytest.mark.parametrize(("clip_len", "frame_interval"), WINDOWS)
@pytest.mark.parametrize("num_clips", [1, 4, 5])
def test_test_frames_are_the_published_ones(clip_len, frame_interval, num_clips):
    for total in LENGTHS:
        found = indices(
            total,
            clip_len=clip_len,
            frame_interval=frame_interval,
            num_clips=num_clips,
            test_mode=True,
        )
        delta = max(total - clip_len * frame_interval, 0)
        for clip in range(num_clips):
            start = delta // 2 if num_clips == 1 else clip * (delta // (num_clips - 1))
            expected = published(start, total, clip_len, frame_interval)
            np.testing.assert_array_equal(found[clip], expected)


def test_the_window_of_ten_seconds_at_thirty_frames():
    found = indices(300, clip_len=16, frame_interval=4, num_clips=4, test_mode=True)
    assert found[:, 0].tolist() == [0, 78, 156, 234]
    assert found[:, -1].tolist() == [63, 141, 219, 297]
    assert np.diff(found[0]).tolist() == [4, 4, 4, 4, 5] * 3


def test_a_video_shorter_than_the_window_repeats_its_last_frame():
    found = indices(10, clip_len=8, frame_interval=8, num_clips=4, test_mode=True)
    assert found.tolist() == [[0, 9, 9, 9, 9, 9, 9, 9]] * 4
    assert indices(10, clip_len=8, frame_interval=8)[0].tolist() == found[0].tolist()


@pytest.mark.parametrize(("clip_len", "frame_interval"), WINDOWS)
def test_training_takes_one_window_anywhere(clip_len, frame_interval, monkeypatch):
    total = 300
    delta = total - clip_len * frame_interval
    for share in (0.0, 0.123, 0.77, 0.9999):
        monkeypatch.setattr(np.random, "uniform", lambda low, high, s=share: low + (high - low) * s)
        found = indices(total, clip_len=clip_len, frame_interval=frame_interval, num_clips=4)
        expected = published(delta * share, total, clip_len, frame_interval)
        np.testing.assert_array_equal(found, expected[None])


def test_training_windows_are_uniformly_distributed():
    np.random.seed(0)
    starts = [indices(300, clip_len=8, frame_interval=8)[0, 0] for _ in range(2000)]
    quarters = np.histogram(starts, bins=4, range=(0, 236))[0]
    assert quarters.min() > 440
    assert quarters.max() < 560


def test_frame_numbers_begin_at_the_start_index():
    results = SampleWindow(8, 8, test_mode=True)({"total_frames": 300, "start_index": 1})
    assert results["frame_inds"][0] == 119


# -------------------------------------------------------------------------------------- RandAugment

ARGUMENTS = {
    "Rotate": {-21.0, 21.0},
    "SolarizeAdd": {77.0},
    "ShearX": {-0.21, 0.21},
    "ShearY": {-0.21, 0.21},
    "TranslateXRel": {-0.315, 0.315},
    "TranslateYRel": {-0.315, 0.315},
}
INCREASING = {
    **ARGUMENTS,
    **{key: {0.37, 1.63} for key in ("Color", "Contrast", "Brightness", "Sharpness")},
    "Posterize": {2},
    "Solarize": {77},
}
NOT_INCREASING = {
    **ARGUMENTS,
    **{key: {1.36} for key in ("Color", "Contrast", "Brightness", "Sharpness")},
    "Posterize": {2},
    "Solarize": {179},
}


@pytest.mark.parametrize(("increasing", "expected"), [(True, INCREASING), (False, NOT_INCREASING)])
def test_arguments_at_magnitude_seven_are_timms(increasing, expected):
    assert OPERATIONS.keys() - expected.keys() == {"AutoContrast", "Equalize", "Invert"}
    for name, arguments in expected.items():
        found = {round(operation_argument(name, 0.7, increasing), 9) for _ in range(40)}
        assert found == arguments, name


def photograph(seed=0):
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(40, 216, (24, 32, 3), dtype=np.uint8))
    return np.array(small.resize((64, 48), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_changes_an_image_and_keeps_its_format(name):
    image = Image.fromarray(photograph())
    changed = OPERATIONS[name](image, operation_argument(name, 0.9, increasing=True))
    assert (changed.size, changed.mode) == (image.size, "RGB")
    assert np.abs(np.array(changed).astype(int) - np.array(image)).mean() > 1


def test_geometric_operations_fill_with_grey():
    moved = np.array(OPERATIONS["TranslateXRel"](Image.fromarray(photograph()), 0.25))
    np.testing.assert_array_equal(moved[:, -16:], 128)
    np.testing.assert_array_equal(moved[:, :48], photograph()[:, 16:])


def test_all_frames_of_a_clip_get_the_same_operations():
    transform = ClipRandAugment()
    for seed in range(30):
        np.random.seed(seed)
        frames = [photograph(), photograph(1), photograph()]
        augmented = transform({"imgs": list(frames)})["imgs"]
        np.testing.assert_array_equal(augmented[0], augmented[2])
        np.random.seed(seed)
        np.testing.assert_array_equal(transform({"imgs": [frames[1]]})["imgs"][0], augmented[1])
        np.testing.assert_array_equal(frames[0], photograph(), err_msg="changed in place")
        assert {frame.dtype for frame in augmented} == {np.dtype(np.uint8)}


def test_operations_probabilities_and_magnitudes_are_distributed_as_published(monkeypatch):
    """Fifteen operations alike, half of those drawn are applied, N(7, 0.5) as magnitude."""
    applied, levels = Counter(), []

    def record(name, level, _):
        applied[name] += 1
        levels.append(10 * level)
        return 0.0

    monkeypatch.setattr(video_transforms, "operation_argument", record)
    unchanged = dict.fromkeys(OPERATIONS, lambda image, _: image)
    monkeypatch.setattr(video_transforms, "OPERATIONS", unchanged)
    np.random.seed(0)
    transform = ClipRandAugment(magnitude=7, num_ops=4, magnitude_std=0.5)
    frame = np.zeros((2, 2, 3), dtype=np.uint8)
    for _ in range(3000):
        transform({"imgs": [frame]})
    assert len(levels) == pytest.approx(3000 * 4 * 0.5, rel=0.05)
    assert np.mean(levels) == pytest.approx(7, abs=0.05)
    assert np.std(levels) == pytest.approx(0.5, abs=0.03)
    assert len(applied) == 15
    assert min(applied.values()) > 0.8 * 400
    assert max(applied.values()) < 1.2 * 400


def test_operations_that_weight_channels_may_take_red_for_blue():
    differing = 0
    for seed in range(30):
        augmented = []
        for as_bgr in (False, True):
            np.random.seed(seed)
            transform = ClipRandAugment(increasing=False, as_bgr=as_bgr)
            frame = photograph()[..., :: -1 if as_bgr else 1]
            result = transform({"imgs": [frame]})["imgs"][0]
            assert result.flags.c_contiguous
            augmented.append(result[..., :: -1 if as_bgr else 1])
        np.testing.assert_array_equal(*augmented)
        np.random.seed(seed)
        plain = ClipRandAugment(increasing=False)({"imgs": [frame]})["imgs"][0][..., ::-1]
        differing += not np.array_equal(plain, augmented[1])
    assert 0 < differing < 30, "colour and contrast"


def test_magnitudes_end_at_ten():
    transform = ClipRandAugment(magnitude=10, num_ops=40, magnitude_std=3)
    np.random.seed(0)
    assert transform({"imgs": [photograph()]})["imgs"][0].shape == (48, 64, 3)


def test_workers_that_are_spawned_can_have_them():
    for transform in (SampleWindow(8, 8), ClipRandAugment()):
        assert vars(pickle.loads(pickle.dumps(transform))) == vars(transform)


# ----------------------------------------------------------------------------- opening and decoding


@pytest.fixture(scope="module")
def shades(tmp_path_factory):
    """A video of ten frames of 25 per second, each brighter than the one before."""
    path = tmp_path_factory.mktemp("shades") / "film.mp4"
    with VideoWriter(path, 25) as writer:
        for shade in range(0, 250, 25):
            writer.write(np.full((32, 48, 3), shade, np.uint8))
    return path


def opened(path, **options):
    return VideoReaderInit(**options)({"filename": str(path), "start_index": 0})


def seen(results):
    return [round(image.mean() / 25) for image in results["imgs"]]


def test_decoded_frames_have_the_keys_of_mmactions_readers(shades):
    results = opened(shades)
    assert (results["total_frames"], results["avg_fps"]) == (10, 25)
    results["frame_inds"] = np.array([[3, 9], [0, 3]])
    results = VideoReaderDecode()(results)
    assert seen(results) == [3, 9, 0, 3]
    assert results["frame_inds"].tolist() == [3, 9, 0, 3]
    assert isinstance(results["imgs"], list)
    assert results["imgs"][0].dtype == np.uint8
    assert results["img_shape"] == results["original_shape"] == (32, 48)
    assert results["video_reader"] is None


def test_boxes_become_pixels_as_with_mmactions_readers(shades):
    results = opened(shades) | {"frame_inds": [0], "gt_bboxes": np.array([[0, 0.25, 0.5, 1]])}
    results = VideoReaderDecode()(results | {"proposals": None})
    assert results["gt_bboxes"].tolist() == [[0, 8, 24, 32]]
    assert results["proposals"] is None


def test_frames_are_resampled(shades):
    results = opened(shades, fps=50)
    assert (results["total_frames"], results["avg_fps"]) == (20, 50)
    results["frame_inds"] = np.arange(20)
    assert seen(VideoReaderDecode()(results)) == [number // 2 for number in range(20)]


def test_videos_come_from_any_file_backend(shades):
    results = opened(shades, backend_args={"backend": "memory_test"}, threads=2)
    results["frame_inds"] = np.array([7, 1])
    assert seen(VideoReaderDecode()(results)) == [7, 1]


@register_backend("memory_test")
class MemoryBackend(BaseStorageBackend):
    def get(self, filepath):
        return Path(filepath).read_bytes()

    def get_text(self, filepath):
        raise NotImplementedError
