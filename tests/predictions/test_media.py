"""Images, videos and cameras: what is found, read and written."""

import cv2
import numpy as np
import pytest

from uniformer_mm.errors import UserError
from uniformer_mm.predictions.media import (
    Clip,
    ImageFile,
    Video,
    VideoWriter,
    find_sources,
    is_image,
    read_image,
    write_image,
)

RED = np.broadcast_to(np.uint8([0, 0, 255]), (20, 30, 3))
SHADES = tuple(range(0, 250, 40))


def frame(shade, size=(48, 64)):
    return np.full((*size, 3), shade, np.uint8)


@pytest.fixture
def folder(tmp_path):
    write_image(tmp_path / "in" / "b.png", RED)
    write_image(tmp_path / "in" / "below" / "a.JPG", RED)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    with VideoWriter(tmp_path / "in" / "film.mp4", 10) as writer:
        for shade in SHADES:
            writer.write(frame(shade))
    return tmp_path / "in"


def test_folders_are_searched_in_order_for_images_and_videos(folder):
    found = find_sources([folder])
    assert [source.name for source in found] == ["b.png", "below/a.JPG", "film.mp4"]
    assert [type(source) for source in found] == [ImageFile, ImageFile, Video]
    assert [source.name for source in find_sources([folder], videos_only=True)] == ["film.mp4"]


def test_files_of_one_name_are_told_apart_by_their_folders(folder):
    write_image(folder / "below" / "b.png", RED)
    twice = [folder / "b.png", folder / "below" / "b.png", folder / "b.png"]
    assert [source.name for source in find_sources(twice)] == ["b.png", "below/b.png"]


@pytest.mark.parametrize(
    ("names", "videos_only", "message"),
    [
        (["none.png"], False, "no file or folder .*none.png"),
        (["empty"], False, "no image or video in .*empty: known are .avi, .bmp"),
        (["below"], True, "no video in .*below"),
        (["b.png"], True, "b.png is an image, and the model looks at videos"),
        (["notes.txt"], False, "notes.txt cannot be read: it is text"),
    ],
)
def test_what_is_not_there_is_named(folder, names, videos_only, message):
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        find_sources([folder / name for name in names], videos_only)


def test_images_are_known_by_name_or_content(folder):
    image, film = folder / "picture", folder / "film"
    image.write_bytes((folder / "b.png").read_bytes())
    film.write_bytes((folder / "film.mp4").read_bytes())
    assert is_image(image)
    assert not is_image(film)
    assert is_image("not_there.jpeg")


def test_images_are_bgr_with_three_channels(tmp_path):
    write_image(tmp_path / "red.png", RED)
    np.testing.assert_array_equal(read_image(tmp_path / "red.png"), RED)
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((4, 4), 7, np.uint8))
    assert read_image(tmp_path / "grey.png").shape == (4, 4, 3)


@pytest.mark.parametrize("content", [None, b"", b"not an image"])
def test_unreadable_images_are_named(tmp_path, content):
    path = tmp_path / "broken.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.png"):
        read_image(path)


def test_pictures_need_a_known_format(tmp_path):
    with pytest.raises(UserError, match=r"picture\.xyz: pictures are written as"):
        write_image(tmp_path / "picture.xyz", RED)
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
    class Dark:
        def isOpened(self):  # noqa: N802  OpenCV's name
            return True

        def get(self, _):
            return 0.0

        def read(self):
            return False, None

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoCapture", lambda _: Dark())
    with pytest.raises(UserError, match="camera 0 gives no pictures"):
        list(Video(0, "camera_0").frames())


def test_a_video_is_one_clip_or_several(folder):
    video = Video(folder / "film.mp4", "film.mp4")
    (whole,) = video.clips(None)
    assert whole.position == {}
    assert len(list(whole.frames())) == len(SHADES)
    parts = list(video.clips(3))
    assert [part.position["frames"] for part in parts] == [[0, 2], [3, 5], [6, 6]]
    shades = [image.mean() for part in parts for image in part.frames()]
    assert shades == pytest.approx(SHADES, abs=4)


@pytest.mark.parametrize("count", [1, 3, 20])
def test_glimpses_are_spread_over_a_clip(folder, count):
    video = Video(folder / "film.mp4", "film.mp4")
    expected = np.linspace(0, len(SHADES) - 1, min(count, len(SHADES))).astype(int)
    images = np.stack([frame(shade) for shade in SHADES])
    for clip in (Clip("film.mp4", video), Clip("array", images=images)):
        means = clip.glimpses(count).mean((1, 2, 3))
        assert means == pytest.approx(np.array(SHADES)[expected], abs=4)


def test_cameras_are_numbers(folder, monkeypatch):
    opened = []
    capture = cv2.VideoCapture

    def open_file_instead(source):
        opened.append(source)
        return capture(str(folder / "film.mp4"))

    monkeypatch.setattr(cv2, "VideoCapture", open_file_instead)
    (camera,) = find_sources(["0"])
    assert (camera.name, camera.length) == ("camera_0", None)
    assert len(list(camera.frames())) == len(SHADES)
    assert opened == [0, 0]


def test_a_camera_that_is_not_there_is_named():
    with pytest.raises(UserError, match="camera 97 gives no pictures"):
        find_sources([97])
