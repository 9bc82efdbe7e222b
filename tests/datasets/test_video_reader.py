"""The reader returns the requested frames in every container, codec and order."""

import io
import random

import av
import numpy as np
import pytest
from video_clips import CLIPS, LENGTH, code_of, copy_packets, picture, write_clip

from uniformer_mm.datasets.video_reader import VideoReader
from uniformer_mm.errors import UserError

IN_ORDER = (".avi", ".wmv", ".ts", ".mpg", ".flv", ".gif", ".h264")
"""Files without reliable timestamps."""

WAYS = {
    "whole": range(LENGTH),
    "strided": range(3, LENGTH, 7),
    "backwards": range(LENGTH - 1, -1, -1),
    "repeated and random": random.Random(0).choices(range(LENGTH), k=LENGTH),
    "last": [-1],
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Makes clips, each once."""
    folder = tmp_path_factory.mktemp("clips")

    def make(name, **options):
        path = folder / name
        return path if path.exists() else write_clip(path, **options)

    return make


def codes(images):
    return [code_of(image) for image in images]


def decoded(path):
    """Codes of the frames that decoding in order gives, with the flag that FFmpeg sets."""
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.flags |= 8  # output_corrupt
        return [code_of(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


# ----------------------------------------------------------------------------------------- frames


@pytest.mark.parametrize("name", CLIPS)
def test_every_way_of_asking_gives_the_frames_asked_for(clip, name, monkeypatch):
    monkeypatch.setenv("SVT_LOG", "1")
    path = clip(name, size=(65, 49) if name == "odd.webm" else (64, 48))
    reader = VideoReader(path)
    assert len(reader) == LENGTH
    assert bool(reader._index) == (not name.endswith(IN_ORDER))
    for indices in WAYS.values():
        expected = [index % LENGTH for index in indices]
        assert codes(reader.read(indices)) == expected, "the reader goes on from where it was"
        assert codes(VideoReader(path).read(np.array(indices))) == expected
    assert codes(VideoReader(path)) == list(range(LENGTH))
    assert [code_of(VideoReader(path)[index]) for index in (0, 13, 25)] == [0, 13, 25]
    threaded = VideoReader(io.BytesIO(path.read_bytes()), threads=0)
    assert codes(threaded.read(WAYS["backwards"])) == list(WAYS["backwards"])


@pytest.mark.parametrize("name", ["plain.mp4", "open_gop.mp4", "odd.webm"])
def test_sparse_frames_are_read_without_decoding_all(clip, name, monkeypatch):
    reader = VideoReader(clip(name, size=(65, 49) if name == "odd.webm" else (64, 48)))
    reader.read([0])
    count = 0
    decode = VideoReader._decode

    def counted(self):
        nonlocal count
        for frame in decode(self):
            count += 1
            yield frame

    monkeypatch.setattr(VideoReader, "_decode", counted)
    assert codes(reader.read([26])) == [26]
    assert count <= 12


@pytest.mark.parametrize(
    ("source", "target", "first"),
    [
        ("b_frames.mp4", "cut.mkv", 5),  # begins with frames that refer to what was cut off
        ("stream.ts", "cut.ts", 5),
        ("open_gop.mp4", "leading.mkv", 12),  # with frames shown before the first keyframe
        ("open_gop.mp4", "leading.mp4", 12),
        ("hevc.mp4", "leading_hevc.mp4", 12),
        ("transport.ts", "cut_mpeg2.ts", 5),
    ],
)
def test_cut_files_are_read_as_decoding_in_order_does(clip, tmp_path, source, target, first):
    path = copy_packets(clip(source), tmp_path / target, first)
    expected = decoded(path)
    assert 0 < len(expected) < LENGTH
    reader = VideoReader(path)
    indices = random.Random(1).choices(range(len(expected)), k=40)
    assert codes(reader.read(indices)) == [expected[index] for index in indices]
    assert codes(reader) == expected
    assert len(reader) == len(expected)


def copied(source, target, change=lambda number, packet: packet, **options):
    """Copy a clip with changed packets."""
    with av.open(str(source)) as whole, av.open(str(target), "w", options=options) as copy:
        stream = copy.add_stream_from_template(whole.streams.video[0])
        for number, packet in enumerate(p for p in whole.demux(video=0) if p.size):
            packet = change(number, packet)
            packet.stream = stream
            copy.mux(packet)
    return target


def rewritten(source, target, change):
    """Copy a clip with changed content of packets."""

    def replace(number, packet):
        changed = av.Packet(change(number, bytes(packet)))
        changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
        changed.is_keyframe = packet.is_keyframe
        return changed

    return copied(source, target, replace)


def test_frames_before_the_start_of_an_edit_list_are_not_shown(clip, tmp_path):
    def earlier(number, packet):
        shift = int(9 / 25 / packet.time_base)
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        return packet

    reader = VideoReader(copied(clip("b_frames.mp4"), tmp_path / "edited.mp4", earlier))
    assert reader._index
    assert codes(reader.read(range(len(reader)))[::-1]) == list(range(9, LENGTH))[::-1]


def test_hidden_frames_are_not_counted(clip, tmp_path):
    def hide(number, content):
        return bytes([content[0] & ~0x10]) + content[1:] if number == 7 else content

    reader = VideoReader(rewritten(clip("hidden.webm"), tmp_path / "hidden.webm", hide))
    assert reader._index
    assert codes(reader.read(range(len(reader)))) == [n for n in range(LENGTH) if n != 7]


@pytest.mark.parametrize("indices", [range(LENGTH), [25, 3, 7], [7], [6, 8]])
def test_a_damaged_frame_shows_the_one_before_it(tmp_path, clip, indices):
    source = clip("pictures_in.mkv", codec="mjpeg", prepare=full_range)
    path = rewritten(
        source, tmp_path / "damaged.mkv", lambda n, content: b"\0" * 99 if n == 7 else content
    )
    reader = VideoReader(path)
    assert len(reader) == LENGTH
    assert codes(reader.read(indices)) == [6 if index == 7 else index for index in indices]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("b_frames.mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("hidden.webm", {"live": "1"}),  # neither length nor index, as browsers record
    ],
)
def test_streamed_containers_are_read_by_number(clip, tmp_path, name, options):
    reader = VideoReader(copied(clip(name), tmp_path / name, **options))
    assert reader._index
    assert codes(reader.read(WAYS["backwards"])) == list(WAYS["backwards"])
    assert codes(reader.read([30, 2])) == [30, 2]
    assert reader._positions is None, "it has not fallen back to decoding in order"


def full_range(stream):
    stream.pix_fmt = "yuvj420p"


def test_a_container_that_refuses_to_seek_is_decoded_in_order(clip):
    class Unseekable:
        def __init__(self, container):
            self.container = container

        def seek(self, *_, **__):
            raise av.PermissionError(1, "Operation not permitted")

        def __getattr__(self, name):
            return getattr(self.container, name)

    reader = VideoReader(clip("plain.mp4"))
    reader._container = Unseekable(reader._container)
    assert codes(reader.read([30, 2])) == [30, 2]
    assert not reader._index
    reader = VideoReader(clip("plain.mp4"))
    assert len(reader) == LENGTH
    reader._container = Unseekable(reader._container)
    assert codes(reader.read([30, 2])) == [30, 2]
    assert reader._positions == range(LENGTH)


def test_frames_beyond_the_end_are_refused(clip):
    reader = VideoReader(clip("plain.mp4"))
    for index in (LENGTH, -LENGTH - 1):
        with pytest.raises(IndexError, match=f"40 frames: no frame {index}"):
            reader.read([0, index])
    assert reader.read([]).shape == (0, 48, 64, 3)
    assert reader.read([[1, 2], [3, 1]]).shape == (4, 48, 64, 3)


def test_frames_that_do_not_fit_into_memory_are_decoded_again(clip, monkeypatch):
    monkeypatch.setattr("uniformer_mm.datasets.video_reader.KEPT_BYTES", 50_000)
    reader = VideoReader(clip("program.mpg"))
    assert codes(reader.read(WAYS["backwards"])) == list(WAYS["backwards"])
    assert 0 < len(reader._kept) < LENGTH


# ------------------------------------------------------------------------------------ orientation


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_turned_videos_are_shown_upright(clip, degrees):
    path = clip(
        f"turned{degrees}.mp4",
        codec="libx264",
        prepare=lambda stream: stream.set_display_rotation(degrees),
    )
    reader = VideoReader(path)
    assert reader.rotation == degrees
    image = reader[11]
    assert image.shape[1::-1] == reader.size == ((48, 64) if degrees % 180 else (64, 48))
    stored = np.rot90(image, -degrees // 90)
    assert np.abs(stored.astype(int) - picture(11)).mean() < 5


@pytest.mark.parametrize(
    ("matrix", "undo"),
    [
        ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
        ((1, 0, 0, -1), lambda image: image[::-1]),
        ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda image: image.swapaxes(0, 1)[::-1, ::-1]),
    ],
)
def test_mirrored_videos_are_shown_as_they_are_meant(tmp_path, matrix, undo):
    xx, xy, yx, yy = (65536 * value for value in matrix)
    path = write_clip(
        tmp_path / "mirrored.mp4",
        "libx264",
        length=3,
        prepare=lambda stream: stream.set_display_matrix([xx, xy, 0, yx, yy, 0, 0, 0, 1 << 30]),
    )
    assert np.abs(undo(VideoReader(path)[2]).astype(int) - picture(2)).mean() < 5


# ------------------------------------------------------------------------------------------- time


def test_rates_and_times_of_steady_and_varying_frames(clip):
    steady = VideoReader(clip("b_frames.mp4"))
    assert (steady.rate, steady.fps, steady.length_estimate) == (25, 25, LENGTH)
    np.testing.assert_allclose(steady.timestamps, np.arange(LENGTH) / 25)
    times = [4 * number if number < 20 else 80 + 12 * (number - 20) for number in range(LENGTH)]
    varying = VideoReader(clip("varying.mp4", codec="libx264", times=times))
    np.testing.assert_allclose(varying.timestamps, np.array(times) / 100)
    assert varying.fps == pytest.approx(LENGTH / (varying.timestamps[-1] + 0.12), rel=0.03)
    assert codes(varying.read(WAYS["backwards"])) == list(WAYS["backwards"])


@pytest.mark.parametrize("rate", [10, 12.5, 25, 30, 60])
@pytest.mark.parametrize("name", ["b_frames.mp4", "varying.mp4", "b_frames.avi"])
def test_resampling_is_that_of_ffmpegs_filter(clip, name, rate):
    times = [4 * number if number < 20 else 80 + 12 * (number - 20) for number in range(LENGTH)]
    path = clip(name, **({"codec": "libx264", "times": times} if "varying" in name else {}))
    expected = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        graph = av.filter.Graph()
        graph.link_nodes(
            graph.add_buffer(template=stream),
            graph.add("fps", f"fps={rate}:round=near"),
            graph.add("buffersink"),
        ).configure()
        frames = list(container.decode(stream))
        for frame in [*frames, None]:
            graph.vpush(frame)
            while True:
                try:
                    expected.append(code_of(graph.vpull().to_ndarray(format="rgb24")))
                except (av.BlockingIOError, EOFError):
                    break
    reader = VideoReader(path, fps=rate)
    assert (reader.fps, len(reader)) == (rate, len(reader.timestamps))
    found = codes(reader.read(range(len(reader))))
    # How long the last frame lasts is not known to the filter.
    assert found[: len(expected)] == expected[: len(found)]
    assert abs(len(found) - len(expected)) <= rate * 0.12


# ----------------------------------------------------------------------------------------- errors


def test_unreadable_files_are_named_with_the_reason(clip, tmp_path):
    mp4 = clip("plain.mp4").read_bytes()
    fast_start = copied(clip("plain.mp4"), tmp_path / "fast_start.mp4", movflags="faststart")
    assert codes(VideoReader(fast_start).read([7])) == [7]
    contents = {
        "empty.mp4": (b"", "the file is empty"),
        "text.mp4": (b"not a video\n" * 99, "it is text, not a video"),
        "noise.mp4": (bytes(range(256)) * 99, "it is not a video"),
        "zeros.mp4": (mp4[:99] + bytes(len(mp4)), "its recording was not completed"),
        "cut.mp4": (mp4[:-99], "it is truncated, 99 bytes are missing"),
        "half.mp4": (fast_start.read_bytes()[:-2000], "it is truncated, 2000 bytes"),
        "cut.avi": (clip("pictures.avi").read_bytes()[:-99], "it is truncated, 99 bytes"),
        "cut.mkv": (clip("lossless.mkv").read_bytes()[:-99], "it is truncated, 99 bytes"),
        "cut.webm": (clip("hidden.webm").read_bytes()[:-99], "it is truncated, 99 bytes"),
        "unknown.mp4": (
            mp4.replace(b"avc1", b"xyz1").replace(b"avcC", b"xyzC"),
            r"no decoder .* none \(xyz1 .*Re-encode it .*: ffmpeg -i .*unknown.mp4 -c:v libx264",
        ),
    }
    for name, (content, reason) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{tmp_path}/{name} cannot be read: .*{reason}"):
            VideoReader(tmp_path / name)
        with pytest.raises(UserError, match=rf"^it cannot be read: .*{reason[:15]}"):
            VideoReader(io.BytesIO(content), name="it")
    with pytest.raises(UserError, match=f"no video {tmp_path}/none.mp4"):
        VideoReader(tmp_path / "none.mp4")
    with pytest.raises(UserError, match=f"{tmp_path} cannot be read: Is a directory"):
        VideoReader(tmp_path)
    with pytest.raises(UserError, match=r"fps: .* not 0"):
        VideoReader(clip("plain.mp4"), fps=0)


def test_sound_without_video_is_named(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(UserError, match="it has no video, only audio"):
        VideoReader(tmp_path / "sound.mp4")


def test_a_video_without_a_frame_that_can_be_decoded_is_named(clip, tmp_path):
    path = rewritten(clip("plain.mp4"), tmp_path / "zeros.mp4", lambda _, content: b"\0" * 50)
    with pytest.raises(UserError, match="none of its frames can be decoded"):
        len(VideoReader(path))
    with pytest.raises(UserError, match="none of its frames can be decoded"):
        list(VideoReader(path))
