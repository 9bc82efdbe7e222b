"""Images, videos and cameras are found; other files are counted or named."""

import os
import socket

import cv2
import numpy as np
import pytest

from uniformer_mm.datasets.finding import check_paths, find_sources, is_image
from uniformer_mm.datasets.media import FrameFolder, ImageFile, Video, VideoWriter, write_image
from uniformer_mm.errors import UserError

RED = np.broadcast_to(np.uint8([0, 0, 255]), (20, 30, 3))


@pytest.fixture
def folder(tmp_path):
    write_image(tmp_path / "in" / "b.png", RED)
    write_image(tmp_path / "in" / "below" / "a.JPG", RED)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    with VideoWriter(tmp_path / "in" / "film.mp4", 10) as writer:
        for shade in range(0, 250, 40):
            writer.write(np.full((48, 64, 3), shade, np.uint8))
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
    ("name", "videos_only", "message"),
    [
        ("none\n.png", False, r"no file or folder .*none\?\.png"),
        ("empty", False, "no image or video in .*empty: .* .3g2, .3gp"),
        ("below", True, r"no video in .*below \(1 images: --frames"),
    ],
)
def test_missing_files_and_empty_folders_are_named(folder, name, videos_only, message):
    (folder / "empty").mkdir()
    check_paths([folder, 0, "1"])
    with pytest.raises(UserError, match=message):
        find_sources([folder / name], videos_only)


def test_images_are_known_by_name_or_content(folder):
    image, film = folder / "image", folder / "film"
    image.write_bytes((folder / "b.png").read_bytes())
    film.write_bytes((folder / "film.mp4").read_bytes())
    assert is_image(image)
    assert not is_image(film)
    assert is_image("not_there.jpeg")


def test_what_is_skipped_in_folders_is_counted(folder):
    (folder / "README").write_text("")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / ".thumbnails").mkdir()
    write_image(folder / ".thumbnails" / "b.png", RED)
    (folder / "link").symlink_to(folder / "below")
    expected = {".txt": 1, "no suffix": 1, "hidden": 1, "links to folders": 1}
    found = find_sources([folder])
    assert (len(found), found.skipped, found.faults) == (3, expected, [])
    assert find_sources([folder], videos_only=True).skipped == expected | {".png": 1, ".jpg": 1}


def test_only_regular_files_are_read(folder):
    os.mkfifo(folder / "pipe.png")
    (folder / "device.png").symlink_to("/dev/zero")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "fine.png").symlink_to("b.png")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket.mp4"))
    found = find_sources([folder])
    assert [source.name for source in found] == ["b.png", "below/a.JPG", "film.mp4", "fine.png"]
    reasons = {str(fault).split()[0].rpartition("/")[2]: str(fault) for fault in found.faults}
    assert reasons.keys() == {"device.png", "gone.png", "loop.png", "pipe.png", "socket.mp4"}
    for name, reason in {"device": "a link to a device", "pipe": "a named pipe"}.items():
        assert reason in reasons[f"{name}.png"]
    named = find_sources([folder / "pipe.png", folder / "b.png"])
    assert (len(named), len(named.faults)) == (1, 1)


def test_unreadable_videos_and_images_for_recognisers_do_not_stop_the_others(folder):
    (folder / "text.mp4").write_text("no video")
    (folder / "empty.mkv").write_bytes(b"")
    found = find_sources([folder, folder / "b.png", folder / "notes.txt"], videos_only=True)
    assert [source.name.rpartition("/")[2] for source in found] == ["film.mp4"]
    assert [str(fault).split()[0].rpartition("/")[2] for fault in found.faults] == [
        "empty.mkv",
        "text.mp4",
        "b.png",
        "notes.txt",
    ]


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a\x1b[31m\nb", b"n" * 251])
def test_names_may_be_any_that_the_file_system_takes(tmp_path, name):
    content = cv2.imencode(".png", RED)[1].tobytes()
    for suffix, text in ((b".png", content), (b".mp4", b"no video")):
        with open(os.path.join(os.fsencode(tmp_path), name + suffix), "wb") as file:
            file.write(text)
    found = find_sources([tmp_path])
    assert [os.fsencode(source.name) for source in found] == [name + b".png"]
    assert next(found[0].frames()).image.shape == RED.shape
    assert len(found.faults) == 1
    assert str(found.faults[0]).isprintable()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["img_1.png", "img_2.png", "img_10.png", "flow_x_1.png"], ["img_1", "img_2", "img_10"]),
        (["003.jpg", "001.jpg", "002.jpg"], ["001", "002", "003"]),
        (["cat.png", "dog.png"], None),
        (["x_1.png", "x_2.png", "y_1.png"], None),
        (["img_1.png"], None),
    ],
)
def test_folders_of_numbered_images_are_videos_for_recognisers(tmp_path, names, expected):
    for name in names:
        write_image(tmp_path / "clip" / name, RED)
    for root, name in ((tmp_path, "clip"), (tmp_path / "clip", "clip")):
        if expected is None:
            with pytest.raises(UserError, match=r"no video in .* --frames takes them"):
                find_sources([root], videos_only=True)
            (found,) = find_sources([root], videos_only=True, frames=True)
            assert found.length == len(names)
            continue
        (found,) = find_sources([root], videos_only=True)
        assert isinstance(found, FrameFolder)
        assert (found.name, [file.stem for file in found._files]) == (name, expected)
    assert len(find_sources([tmp_path])) == len(names)
    (found,) = find_sources([tmp_path], frames=True)
    assert isinstance(found, FrameFolder)


def test_numbered_thumbnails_of_videos_are_no_video(folder):
    for name in ("film_1.png", "film_2.png"):
        write_image(folder / name, RED)
    (folder / "b.png").unlink()
    found = find_sources([folder], videos_only=True)
    assert [source.name for source in found] == ["film.mp4"]
    assert found.skipped[".png"] == 2


def test_cameras_are_numbers(folder, monkeypatch):
    opened = []
    capture = cv2.VideoCapture

    def open_file_instead(source):
        opened.append(source)
        return capture(str(folder / "film.mp4"))

    monkeypatch.setattr(cv2, "VideoCapture", open_file_instead)
    (camera,) = find_sources(["0"])
    assert (camera.name, camera.length) == ("camera_0", None)
    assert len(list(camera.frames())) == 7
    assert opened == [0, 0]


def test_a_camera_that_is_not_there_is_named():
    with pytest.raises(UserError, match="camera 97 gives no frames"):
        find_sources([97])
