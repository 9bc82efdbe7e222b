"""Images, videos and cameras are read and written."""

import struct
import zlib
from unittest.mock import Mock

import cv2
import numpy as np
import pytest

from uniformer_mm.datasets.media import (
    Clip,
    FrameFolder,
    Video,
    VideoWriter,
    read_image,
    write_image,
)
from uniformer_mm.errors import UserError

RED = np.broadcast_to(np.uint8([0, 0, 255]), (20, 30, 3))
SHADES = tuple(range(0, 250, 40))


def frame(shade, size=(48, 64)):
    return np.full((*size, 3), shade, np.uint8)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("media") / "film.mp4"
    with VideoWriter(path, 10) as writer:
        for shade in SHADES:
            writer.write(frame(shade))
    return Video(path, "film.mp4")


def test_images_are_bgr_with_three_channels(tmp_path):
    write_image(tmp_path / "red.png", RED)
    np.testing.assert_array_equal(read_image(tmp_path / "red.png"), RED)
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((4, 4), 7, np.uint8))
    assert read_image(tmp_path / "grey.png").shape == (4, 4, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"", "the file is empty"),
        (b"not an image", "it is not an image"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (cv2.imencode(".png", RED)[1].tobytes()[:-20], "truncated or damaged"),
    ],
)
def test_unreadable_images_are_named_with_the_reason(tmp_path, content, reason):
    path = tmp_path / "broken.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"broken\.png.*{reason}"):
        read_image(path)


@pytest.mark.parametrize(("side", "limit"), [(16000, 2**24), (2**16, 2**28), (2**16, 2**40)])
def test_large_images_are_refused_by_what_their_header_states(tmp_path, side, limit):
    """With any limit: OpenCV has one of its own."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    head = b"\x89PNG\r\n\x1a\n\0\0\0\r" + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "bomb.png").write_bytes(head + b"\0" * 99)
    with pytest.raises(UserError, match=r"bomb\.png (is not decoded: it has \d+ pixels|cannot be)"):
        read_image(tmp_path / "bomb.png", limit)


def test_frames_of_a_folder_are_a_video(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(len(SHADES))]
    for path, shade in zip(paths, SHADES, strict=True):
        write_image(path, frame(shade))
    folder = FrameFolder(tmp_path, "frames", paths)
    assert [entry.image.mean() for entry in folder.frames()] == list(SHADES)
    assert [clip.position["frames"] for clip in folder.clips(4)] == [[0, 3], [4, 6]]
    assert (len(folder), folder.length, folder.read([2]).mean()) == (
        len(SHADES),
        len(SHADES),
        SHADES[2],
    )
    write_image(paths[3], frame(0, (8, 8)))
    with pytest.raises(UserError, match=r"3\.png has another size"):
        list(folder.images())


def test_formats_have_to_be_known(tmp_path):
    with pytest.raises(UserError, match=r"image\.xyz: .*\.png"):
        write_image(tmp_path / "image.xyz", RED)
    with pytest.raises(UserError, match=r"videos are written as \.mp4 or \.webm"):
        VideoWriter(tmp_path / "film.avi", 25)


@pytest.mark.parametrize("name", ["film.mp4", "film.webm"])
def test_videos_have_the_frames_that_were_written(tmp_path, name):
    path = tmp_path / "made" / name
    with VideoWriter(path, 12.5) as writer:
        for shade in SHADES:
            writer.write(frame(shade, (49, 65)))
    video = Video(path, name)
    assert (video.rate, video.length) == (12.5, len(SHADES))
    frames = list(video.frames())
    assert [entry.index for entry in frames] == list(range(len(SHADES)))
    assert frames[0].position == {"frame": 0}
    assert frames[0].image.shape == (48, 64, 3)
    assert [entry.image.mean() for entry in frames] == pytest.approx(SHADES, abs=4)


def test_a_video_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*taken"):
        VideoWriter(tmp_path / "taken" / "film.mp4", 25).write(frame(0))


def test_a_camera_without_frames_is_named(monkeypatch):
    camera = Mock(**{"isOpened.return_value": True, "get.return_value": 0.0})
    camera.read.return_value = False, None
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: camera)
    with pytest.raises(UserError, match="camera 0 gives no frames"):
        list(Video(0, "camera_0").frames())


def test_a_video_is_one_clip_or_several(film):
    (whole,) = film.clips(None)
    assert whole.position == {}
    assert len(list(whole.frames())) == len(SHADES)
    parts = list(film.clips(3))
    assert [part.position["frames"] for part in parts] == [[0, 2], [3, 5], [6, 6]]
    shades = [image.mean() for part in parts for image in part.frames()]
    assert shades == pytest.approx(SHADES, abs=4)


@pytest.mark.parametrize("count", [1, 3, 20])
def test_sampled_frames_are_evenly_spaced(film, count):
    expected = np.linspace(0, len(SHADES) - 1, min(count, len(SHADES))).astype(int)
    images = np.stack([frame(shade) for shade in SHADES])
    for clip in (Clip("film.mp4", film), Clip("array", images=images)):
        means = clip.sample_frames(count).mean((1, 2, 3))
        assert means == pytest.approx(np.array(SHADES)[expected], abs=4)
