"""Looking into models of every task, from files to pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch

from uniformer_mm import Inferencer
from uniformer_mm.analysis.looking import Onlooker, look_at_kernels, save_sights
from uniformer_mm.analysis.panels import PANEL, seen_frames
from uniformer_mm.analysis.recording import Recorder, find_backbone
from uniformer_mm.apis.config import load_config
from uniformer_mm.datasets.media import Frame, Video, VideoWriter, read_image, write_image
from uniformer_mm.errors import UserError
from uniformer_mm.export.files import metadata
from uniformer_mm.export.graph import Part
from uniformer_mm.visualization.drawing import GAP

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
MODELS = {
    "det": "det/mask_rcnn_uniformer_s.py",
    "seg": "seg/semantic_fpn_uniformer_s_h14.py",
    "pose": "pose/td_hm_uniformer_s_256x192.py",
    "cls": "cls/uniformer_s_in1k.py",
    "light": "cls/uniformer_xxs_128_in1k.py",
    "video": "video/uniformer_s_8x8_k400.py",
    "tsn": "video/tsn_uniformer_s_k400.py",
    "hmdb51": "video/uniformer_s_16x4_hmdb51.py",
}
SIZES = {
    "det": {
        "test_dataloader.dataset.pipeline.1.scale": (160, 96),
        "model.test_cfg.rcnn.max_per_img": 2,
        "model.test_cfg.rpn.max_per_img": 5,
    },
    "seg": {"test_dataloader.dataset.pipeline.1.scale": (160, 96)},
    "video": {
        "test_dataloader.dataset.pipeline.1.num_clips": 2,
        "test_dataloader.dataset.pipeline.3.scale": (-1, 64),
        "test_dataloader.dataset.pipeline.4.crop_size": 64,
    },
}
SIZES["hmdb51"] = SIZES["video"]
HEIGHT, WIDTH = 90, 150


def build(name):
    torch.manual_seed(0)
    cfg = load_config(str(CONFIGS / MODELS[name]))
    cfg.model.backbone.arch = {"depths": (1, 1, 1, 1)}
    if name == "light":
        light = {"depths": (1, 1, 2, 1), "embed_dims": (56, 112, 224, 448), "head_dim": 28}
        cfg.model.backbone.arch = light
    options = SIZES.get(name)
    return Inferencer(cfg, device="cpu", random_weights=True, cfg_options=options)


@pytest.fixture(scope="module")
def inferencer_of():
    """Small models, built when first asked for."""
    built = {}

    def inferencer_of(name):
        if name not in built:
            built[name] = build(name)
        return built[name]

    return inferencer_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An image and a video of 6 frames, dark but for a spot."""
    folder = tmp_path_factory.mktemp("looking")
    image = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    image[50:54, 82:86] = 255
    write_image(folder / "image.png", image)
    with VideoWriter(folder / "film.mp4", 5) as writer:
        for _ in range(6):
            writer.write(image)
    return folder


@pytest.mark.parametrize("name", MODELS)
def test_a_pixel_is_found_in_what_the_model_sees(inferencer_of, folder, name):
    inferencer = inferencer_of(name)
    clips = inferencer.task.takes_clips
    onlooker = Onlooker(inferencer, point=(83.5, 51.5))
    source = folder / ("film.mp4" if clips else "image.png")
    backbone = find_backbone(inferencer.model)
    with Recorder(backbone, []) as recorder:
        prediction = inferencer.predict(source)
    preprocessor = inferencer.model.data_preprocessor
    frames = seen_frames(recorder.input, preprocessor, inferencer.task.channel_order(preprocessor))
    assert len(frames) == {"video": 8, "hmdb51": 16}.get(name, 1)
    frame, y, x = onlooker.locate(prediction.source, frames)
    rows, columns = np.nonzero(frames[frame].min(-1) > 150)
    assert rows.min() - 1 <= y <= rows.max() + 1
    assert columns.min() - 1 <= x <= columns.max() + 1
    assert abs(y - rows.mean()) <= 2
    assert abs(x - columns.mean()) <= 2
    assert Onlooker(inferencer).locate(prediction.source, frames)[1] == frames.shape[1] // 2


@pytest.mark.parametrize(("name", "channel"), [("video", 0), ("tsn", 0), ("hmdb51", 2)])
def test_a_red_film_is_red_in_its_channel_and_in_pictures(inferencer_of, tmp_path, name, channel):
    """The authors' models of HMDB51 and Something-Something see BGR."""
    inferencer = inferencer_of(name)
    red = np.full((HEIGHT, WIDTH, 3), (0, 0, 255), np.uint8)
    with VideoWriter(tmp_path / "film.mp4", 5) as writer:
        for _ in range(6):
            writer.write(red)
    onlooker = Onlooker(inferencer, "features", ["1.1"])
    for source in (tmp_path / "film.mp4", np.stack([red] * 6)):
        with Recorder(find_backbone(inferencer.model), []) as recorder:
            inferencer.predict(source)
        means = recorder.input.flatten(1).mean(1)
        assert [mean > 1 for mean in means] == [index == channel for index in range(3)]
        frame = onlooker._seen(recorder)[0]
        np.testing.assert_allclose(frame - red[0, 0].astype(float), 0, atol=8)
    facts = metadata(Part(inferencer.model, inferencer.task), {}, {}, "x.py")
    assert facts["channels"] == ("RGB" if channel == 0 else "BGR")


def test_points_that_are_not_seen_are_named(inferencer_of, folder):
    inferencer = inferencer_of("cls")
    frame = Frame("image.png", read_image(folder / "image.png"))
    frames = np.zeros((1, 224, 224, 3), np.uint8)
    with pytest.raises(UserError, match=r"does not see the point 3, 9; it sees columns 3\d to"):
        Onlooker(inferencer, point=(3, 9)).locate(frame, frames)
    with pytest.raises(UserError, match="the point 150, 9 is outside of the 150 x 90 pixels"):
        Onlooker(inferencer, point=(150, 9)).locate(frame, frames)


@pytest.mark.parametrize("view", ["attention", "features"])
@pytest.mark.parametrize("name", ["seg", "light"])
def test_images_and_videos_become_pictures(inferencer_of, folder, tmp_path, name, view):
    inferencer = inferencer_of(name)
    onlooker = Onlooker(inferencer, view)
    sources = inferencer.find([folder])
    written = list(save_sights(onlooker.look(sources), sources, tmp_path, as_frames=False))
    assert written == [tmp_path / "film.mp4"] * 6 + [tmp_path / "image.png"]
    picture = read_image(tmp_path / "image.png")
    assert picture.shape[1] > 2 * PANEL
    film = Video(tmp_path / "film.mp4", "")
    assert (film.rate, film.length) == (5, 6)
    again = [sight.pictures[0] for sight in Onlooker(inferencer, view).look(sources[1:])]
    np.testing.assert_array_equal(again[0], picture)


def test_recognisers_show_the_frames_that_they_see(inferencer_of, folder, tmp_path):
    inferencer = inferencer_of("video")
    sources = inferencer.find([folder / "film.mp4"])
    first, last = (
        next(Onlooker(inferencer, frame=frame).look(sources)).pictures for frame in (0, 7)
    )
    assert len(first) == len(last) == 8
    # Two frames share a token: the mark is in these, and attention is that of another token.
    changed = [(a != b).any() for a, b in zip(first, last, strict=True)]
    assert changed[0]
    assert changed[-1]
    looked = Onlooker(inferencer).look(sources)
    written = list(save_sights(looked, sources, tmp_path, as_frames=True))
    assert [path.name for path in written] == [f"{index:06d}.png" for index in range(8)]
    inferencer = inferencer_of("tsn")
    looked = Onlooker(inferencer, "features", frame=2).look(sources)
    assert list(save_sights(looked, sources, tmp_path, False)) == [tmp_path / "film.png"]


def test_light_models_show_what_they_keep(inferencer_of, folder):
    inferencer = inferencer_of("light")
    sources = inferencer.find([folder / "image.png"])
    kept = next(Onlooker(inferencer, "tokens", ["3.1", "3.2"]).look(sources)).pictures[0]
    panels = kept[-PANEL - GAP : -GAP]
    for index, dark in ((1, 0), (2, 0.5)):  # the first block keeps all, the next ones half
        left = index * (PANEL + GAP)
        grey = np.ptp(panels[:, left : left + PANEL], axis=-1) == 0
        assert abs(grey.mean() - dark) < 0.05
    asked = [
        next(Onlooker(inferencer, "attention", ["3.2"], **options).look(sources)).pictures[0]
        for options in ({}, {"class_token": True})
    ]
    assert (asked[0] != asked[1]).any()


def test_kernels_need_no_input(inferencer_of):
    image = look_at_kernels(inferencer_of("cls"), None)
    film = look_at_kernels(inferencer_of("video"), ["1.1"])
    assert film.shape[1] > 4 * image.shape[1]


@pytest.mark.parametrize(
    ("name", "view", "options", "message"),
    [
        ("cls", "tokens", {}, "UniFormer keeps all tokens and has no class token"),
        ("cls", "attention", {"class_token": True}, "keeps all tokens and has no class token"),
        ("cls", "attention", {"blocks": ["2.1"]}, r"block 2\.1: choose from 3\.1 to 3\.1, 4\.1"),
        ("cls", "attention", {"head": 6}, r"head 6: block 3\.1 has heads 1 to 5"),
        ("cls", "attention", {"head": 0}, r"head 0: block 3\.1 has heads 1 to 5"),
        ("cls", "features", {"point": (1, 1)}, "are for attention, not for features"),
        ("cls", "attention", {"frame": 1}, "frames, from 0, are for"),
        ("video", "features", {"frame": 1}, "frames, from 0, are for"),
        ("light", "attention", {"class_token": True, "point": (1, 1)}, "choose one of them"),
    ],
)
def test_mistakes_are_named(inferencer_of, name, view, options, message):
    with pytest.raises(UserError, match=message):
        Onlooker(inferencer_of(name), view, **options)


@pytest.mark.parametrize(("name", "count"), [("video", 8), ("tsn", 25)])
def test_frames_beyond_the_last_are_named(inferencer_of, folder, name, count):
    inferencer = inferencer_of(name)
    sources = inferencer.find([folder / "film.mp4"])
    with pytest.raises(UserError, match=rf"frame 99: the model sees {count}"):
        next(Onlooker(inferencer, frame=99).look(sources))
