"""mmaction2 reads videos with `VideoReader` where it supports decord only.

The inferencer is tested with a real model in tests/checkpoints/test_inferencers.py.
"""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("mmaction")

from mmaction.datasets import RepeatAugDataset
from mmaction.datasets.transforms import loading
from mmaction.visualization import ActionVisualizer
from mmengine.registry import init_default_scope

import uniformer_mm.video  # noqa: F401
from uniformer_mm.compat import mmaction_decord_only
from uniformer_mm.datasets.media import VideoWriter
from uniformer_mm.datasets.video_reader import VideoReader

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A video of five frames of increasing brightness, and an annotation file."""
    folder = tmp_path_factory.mktemp("film")
    with VideoWriter(folder / "film.mp4", 10) as writer:
        for shade in range(0, 250, 50):
            writer.write(np.full((64, 96, 3), (shade, 9, 99), np.uint8))
    (folder / "list.txt").write_text("film.mp4 0\n")
    return folder / "film.mp4"


@pytest.mark.parametrize("reader", ["Decord", "OpenCV", "PyAV", "mmengine.VideoReader"])
def test_repeated_samples_take_every_reader(film, reader):
    if reader == "Decord":
        pytest.importorskip("decord")
    init_default_scope("mmaction")
    dataset = RepeatAugDataset(
        str(film.parent / "list.txt"),
        pipeline=[
            {"type": f"{reader}Init"},
            {"type": "SampleFrames", "clip_len": 5, "test_mode": True},
            {"type": f"{reader}Decode"},
        ],
        data_prefix={"video": str(film.parent)},
        num_repeats=2,
    )
    for sample in dataset[0]:
        shades = [image[..., 2].mean() for image in sample["imgs"]]
        assert shades == pytest.approx(range(0, 250, 50), abs=6)
        assert sample["img_shape"] == sample["original_shape"] == (64, 96)


def test_other_steps_are_refused_as_before(film):
    with pytest.raises(AssertionError, match="RepeatAugDataset requires"):
        RepeatAugDataset(str(film.parent / "list.txt"), pipeline=[{"type": "RawFrameDecode"}] * 3)


def test_the_visualizer_loads_files(film):
    frames = ActionVisualizer()._load_video(str(film))
    assert [frame[..., 0].mean() for frame in frames] == pytest.approx(range(0, 250, 50), abs=6)
    assert ActionVisualizer()._load_video(str(film), (24, -1))[0].shape == (16, 24, 3)


@pytest.mark.parametrize("backend", [{}, {"io_backend": "local"}])
def test_without_decord_its_steps_read_with_the_exact_reader(film, backend, monkeypatch):
    monkeypatch.setattr(mmaction_decord_only, "find_spec", lambda name: None)
    results = loading.DecordInit(**backend).transform({"filename": str(film)})
    assert results["total_frames"] == len(VideoReader(film))
    results["frame_inds"] = np.array([4, 1])
    frames = loading.DecordDecode().transform(results)["imgs"]
    np.testing.assert_array_equal(frames, VideoReader(film).read([4, 1]))


def test_decord_takes_precedence_where_it_is_installed(monkeypatch):
    monkeypatch.setattr(mmaction_decord_only, "find_spec", lambda name: SimpleNamespace())
    with pytest.raises(ImportError, match="decord"):
        loading.DecordInit().transform({"filename": "film.mp4"})
