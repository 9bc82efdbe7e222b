"""Visualizations of models of every task, from files to images."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from uniformer_mm import Inferencer
from uniformer_mm.analysis.feature_maps import (
    FeatureVisualizer,
    find_affine_map,
    make_ramp,
    save_visualizations,
    visualize_kernels,
)
from uniformer_mm.analysis.feature_recorder import FeatureRecorder, find_backbone
from uniformer_mm.analysis.overlays import PANEL, input_frames
from uniformer_mm.apis.config import load_config
from uniformer_mm.datasets.media import Frame, Video, VideoWriter, read_image, write_image
from uniformer_mm.errors import UserError
from uniformer_mm.visualization.drawing import GAP

pytestmark = pytest.mark.stack

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
VIDEO_SIZES = {
    "test_dataloader.dataset.pipeline.1.num_clips": 1,
    "test_dataloader.dataset.pipeline.3.scale": (-1, 64),
    "test_dataloader.dataset.pipeline.4.crop_size": 64,
}
OPTIONS = {
    "det": {
        "test_dataloader.dataset.pipeline.1.scale": (160, 96),
        "model.test_cfg.rcnn.max_per_img": 2,
        "model.test_cfg.rpn.max_per_img": 5,
    },
    "seg": {"test_dataloader.dataset.pipeline.1.scale": (160, 96)},
    "video": VIDEO_SIZES,
    "hmdb51": VIDEO_SIZES,
}
HEIGHT, WIDTH = 90, 150


@pytest.fixture(scope="module")
def inferencer_of():
    """Small models, built when first asked for."""
    built = {}

    def inferencer_of(name):
        if name not in built:
            torch.manual_seed(0)
            cfg = load_config(str(CONFIGS / MODELS[name]))
            cfg.model.backbone.arch = {"depths": (1, 1, 1, 1)}
            if name == "light":
                light = {"depths": (1, 1, 2, 1), "embed_dims": (56, 112, 224, 448), "head_dim": 28}
                cfg.model.backbone.arch = light
            options = OPTIONS.get(name)
            built[name] = Inferencer(cfg, device="cpu", random_weights=True, cfg_options=options)
        return built[name]

    return inferencer_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An image and a video of 6 frames, dark but for a spot; a red video."""
    folder = tmp_path_factory.mktemp("feature_maps")
    image = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    image[50:54, 82:86] = 255
    write_image(folder / "in" / "image.png", image)
    red = np.full_like(image, (0, 0, 255))
    for path, frame in ((folder / "in" / "film.mp4", image), (folder / "red.mp4", red)):
        with VideoWriter(path, 5) as writer:
            for _ in range(6):
                writer.write(frame)
    return folder


@pytest.mark.parametrize("name", MODELS)
def test_a_pixel_is_located_in_the_input(inferencer_of, folder, name):
    inferencer = inferencer_of(name)
    visualizer = FeatureVisualizer(inferencer, point=(83.5, 51.5))
    source = folder / "in" / ("film.mp4" if inferencer.task.takes_clips else "image.png")
    with FeatureRecorder(find_backbone(inferencer.model)) as recorder:
        prediction = inferencer.predict(source)
    preprocessor = inferencer.model.data_preprocessor
    frames = input_frames(recorder.input, preprocessor, inferencer.task.channel_order(preprocessor))
    assert len(frames) == {"video": 8, "hmdb51": 16}.get(name, 1)
    frame, y, x = visualizer.locate(prediction.source, frames)
    rows, columns = np.nonzero(frames[frame].min(-1) > 150)
    assert rows.min() - 1 <= y <= rows.max() + 1
    assert columns.min() - 1 <= x <= columns.max() + 1
    assert abs(y - rows.mean()) <= 2
    assert abs(x - columns.mean()) <= 2
    centre = FeatureVisualizer(inferencer).locate(prediction.source, frames)
    assert centre[1:] == (frames.shape[1] // 2, frames.shape[2] // 2)


@pytest.mark.parametrize(("name", "channel"), [("video", 0), ("tsn", 0), ("hmdb51", 2)])
def test_a_red_video_is_red_in_its_channel_and_in_images(inferencer_of, folder, name, channel):
    """The authors' models of HMDB51 and Something-Something take BGR."""
    inferencer = inferencer_of(name)
    visualizer = FeatureVisualizer(inferencer, "features", ["1.1"])
    red = (0, 0, 255)
    for source in (folder / "red.mp4", np.full((6, HEIGHT, WIDTH, 3), red, np.uint8)):
        with FeatureRecorder(find_backbone(inferencer.model)) as recorder:
            inferencer.predict(source)
        means = recorder.input.flatten(1).mean(1)
        assert [mean > 1 for mean in means] == [index == channel for index in range(3)]
        frame = visualizer._frames(recorder)[0]
        np.testing.assert_allclose(frame - np.array(red, float), 0, atol=8)


def test_points_that_are_not_in_the_input_are_named(inferencer_of, folder):
    inferencer = inferencer_of("cls")
    frame = Frame("image.png", read_image(folder / "in" / "image.png"))
    frames = np.zeros((1, 224, 224, 3), np.uint8)
    with pytest.raises(UserError, match=r"image\.png: .* 3, 9 .* columns 3\d to"):
        FeatureVisualizer(inferencer, point=(3, 9)).locate(frame, frames)
    with pytest.raises(UserError, match=r"image\.png: .* 150, 9 .* 150 x 90 pixels"):
        FeatureVisualizer(inferencer, point=(150, 9)).locate(frame, frames)


@pytest.mark.parametrize(("name", "view"), [("seg", "attention"), ("light", "features")])
def test_images_and_videos_are_written(inferencer_of, folder, tmp_path, name, view):
    inferencer = inferencer_of(name)
    visualizer = FeatureVisualizer(inferencer, view)
    sources = inferencer.find([folder / "in"])
    written = list(save_visualizations(visualizer.visualize(sources), sources, tmp_path, False))
    assert written == [tmp_path / "film.mp4"] * 6 + [tmp_path / "image.png"]
    image = read_image(tmp_path / "image.png")
    assert image.shape[1] > 2 * PANEL
    film = Video(tmp_path / "film.mp4", "")
    assert (film.rate, film.length) == (5, 6)
    (again,) = FeatureVisualizer(inferencer, view).visualize(sources[1:])
    np.testing.assert_array_equal(again.images[0], image)


def test_of_videos_the_sampled_frames_are_shown(inferencer_of, folder, tmp_path):
    inferencer = inferencer_of("video")
    sources = inferencer.find([folder / "in" / "film.mp4"])
    first, last = (
        next(FeatureVisualizer(inferencer, frame=frame).visualize(sources)) for frame in (0, 7)
    )
    assert len(first.images) == len(last.images) == 8
    # Two frames share a token: the mark is in these, and attention is that of another token.
    changed = [(a != b).any() for a, b in zip(first.images, last.images, strict=True)]
    assert changed[0]
    assert changed[-1]
    written = list(save_visualizations([first], sources, tmp_path, as_frames=True))
    assert [path.name for path in written] == [f"{index:06d}.png" for index in range(8)]
    visualizer = FeatureVisualizer(inferencer_of("tsn"), "features", frame=2)
    written = save_visualizations(visualizer.visualize(sources), sources, tmp_path, False)
    assert list(written) == [tmp_path / "film.png"]


def test_lightweight_models_show_what_they_keep(inferencer_of, folder):
    inferencer = inferencer_of("light")
    sources = inferencer.find([folder / "in" / "image.png"])

    def visualized(*arguments, **options):
        return next(FeatureVisualizer(inferencer, *arguments, **options).visualize(sources))

    panels = visualized("tokens", ["3.1", "3.2"]).images[0][-PANEL - GAP : -GAP]
    for index, dark in ((1, 0), (2, 0.5)):  # the first block keeps all, the next ones half
        left = index * (PANEL + GAP)
        grey = np.ptp(panels[:, left : left + PANEL], axis=-1) == 0
        assert abs(grey.mean() - dark) < 0.05
    token, class_token = (
        visualized("attention", ["3.2"], class_token=value).images[0] for value in (False, True)
    )
    assert (token != class_token).any()


def test_kernels_need_no_input(inferencer_of):
    image = visualize_kernels(inferencer_of("cls"), None)
    video = visualize_kernels(inferencer_of("video"), ["1.1"])
    assert video.shape[1] > 4 * image.shape[1]


@pytest.mark.parametrize(
    ("name", "view", "options", "message"),
    [
        ("cls", "tokens", {}, "UniFormer keeps all tokens"),
        ("cls", "attention", {"class_token": True}, "no class token"),
        ("cls", "attention", {"blocks": ["2.1"]}, r"block 2\.1: .*3\.1 to 3\.1, 4\.1"),
        ("cls", "attention", {"head": 6}, r"head 6: block 3\.1 .* 1 to 5"),
        ("cls", "attention", {"head": 0}, r"head 0: block 3\.1 .* 1 to 5"),
        ("cls", "features", {"point": (1, 1)}, "attention, not for features"),
        ("cls", "attention", {"frame": 1}, "frame 1"),
        ("video", "features", {"frame": 1}, "frame 1"),
        ("light", "attention", {"class_token": True, "point": (1, 1)}, "point or the class token"),
    ],
)
def test_mistakes_are_named(inferencer_of, name, view, options, message):
    with pytest.raises(UserError, match=message):
        FeatureVisualizer(inferencer_of(name), view, **options)


@pytest.mark.parametrize(("name", "count"), [("video", 8), ("tsn", 25)])
def test_frames_beyond_the_last_are_named(inferencer_of, folder, name, count):
    inferencer = inferencer_of(name)
    sources = inferencer.find([folder / "in" / "film.mp4"])
    with pytest.raises(UserError, match=rf"frame 99: .* {count} frames"):
        next(FeatureVisualizer(inferencer, frame=99).visualize(sources))


SIZE = (480, 640)


@pytest.mark.parametrize("border", [(0, 0, 0), (103, 116, 123)])
def test_any_affine_map_is_found(border):
    angle, scale = np.deg2rad(20), 0.4
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    forward = np.array([[cos, -sin, 30], [sin, cos, -15]])
    seen = cv2.warpAffine(make_ramp(SIZE), forward, (224, 192), borderValue=border)
    pixels = np.array([[20, 20, 1], [200, 30, 1], [60, 150, 1]])
    expected = (pixels[:, :2] - forward[:, 2]) @ np.linalg.inv(forward[:, :2]).T
    np.testing.assert_allclose(pixels @ find_affine_map(seen, SIZE).T, expected, atol=1.0)


def test_an_enlarged_source_is_located():
    found = find_affine_map(cv2.resize(make_ramp((24, 32)), (320, 240)), (24, 32))
    np.testing.assert_allclose(found @ [159.5, 119.5, 1], [15.5, 11.5], atol=0.2)


@pytest.mark.parametrize("fault", ["noise", "nothing"])
def test_inputs_that_are_not_an_affine_map_are_refused(fault):
    noise = np.random.default_rng(0).integers(40, 220, (64, 64, 1)).repeat(3, -1).astype(np.uint8)
    with pytest.raises(UserError, match="point"):
        find_affine_map(noise if fault == "noise" else np.zeros_like(noise), SIZE)
