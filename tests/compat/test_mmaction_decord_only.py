"""mmaction2's own parts read videos with the exact reader where they knew decord only.

That the inferencer does is proven with a real model in tests/checkpoints/test_inferencers.py.
"""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("mmaction")

from mmaction.datasets import RepeatAugDataset
from mmaction.datasets.transforms import loading
from mmaction.registry import TRANSFORMS
from mmaction.visualization import ActionVisualizer
from mmengine.registry import init_default_scope

import uniformer_mm.video  # noqa: F401
from uniformer_mm.compat import mmaction_decord_only
from uniformer_mm.errors import UserError
from uniformer_mm.predictions.media import VideoWriter


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A video of five frames, each darker than the next, and a list of it."""
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


def test_without_decord_its_steps_say_so_when_they_are_built(monkeypatch):
    init_default_scope("mmaction")
    monkeypatch.setattr(mmaction_decord_only, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install decord.*mmengine\.VideoReaderInit"):
        TRANSFORMS.build({"type": "DecordInit"})
    monkeypatch.setattr(mmaction_decord_only, "find_spec", lambda name: SimpleNamespace())
    assert isinstance(TRANSFORMS.build({"type": "DecordInit"}), loading.DecordInit)
