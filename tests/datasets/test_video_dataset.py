"""Lists and videos at fault are named; repeated samples show the same frames."""

import re
import struct

import cv2
import numpy as np
import pytest

pytest.importorskip("mmaction")

from mmaction.registry import DATASETS
from mmengine.dataset import COLLATE_FUNCTIONS
from mmengine.registry import init_default_scope

import uniformer_mm.video  # noqa: F401
from uniformer_mm.datasets.video_reader import VideoReader
from uniformer_mm.errors import UserError

FORMATS = {"clip.mp4": "mp4v", "clip.avi": "MJPG", "clip.mkv": "mp4v", "clip.webm": "VP80"}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """One video in several containers."""
    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    background = rng.integers(0, 256, (64, 80, 3), dtype=np.uint8)
    for name, codec in FORMATS.items():
        writer = cv2.VideoWriter(str(folder / name), cv2.VideoWriter.fourcc(*codec), 20, (80, 64))
        for number in range(60):
            writer.write(np.roll(background, number, axis=1))
        writer.release()
    return folder


def build(folder, lines, repeats=None, clip_len=8, **options):
    init_default_scope("mmaction")
    (folder / "list.txt").write_text(lines)
    repeated = {"num_repeats": repeats, "sample_once": True} if repeats else {}
    return DATASETS.build(
        {
            "type": f"mmengine.Checked{'RepeatAug' if repeats else 'Video'}Dataset",
            "data_root": str(folder),
            "ann_file": "list.txt",
            "data_prefix": {"video": ""},
            "num_classes": 3,
            "pipeline": [
                {"type": "mmengine.VideoReaderInit"},
                {"type": "mmengine.SampleWindow", "clip_len": clip_len, "frame_interval": 4},
                {"type": "mmengine.VideoReaderDecode"},
                {"type": "RandomResizedCrop", "area_range": (0.3, 0.9)},
                {"type": "Resize", "scale": (32, 32), "keep_ratio": False},
                {"type": "FormatShape", "input_format": "NCTHW"},
                {"type": "PackActionInputs", "meta_keys": ("filename",)},
            ],
            **repeated,
            **options,
        }
    )


# ------------------------------------------------------------------------------------------ lists


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("clip.avi", r"'clip\.avi' has no label: each line is a file name, a space and a class"),
        (
            "clip.avi 3",
            r"'clip\.avi 3' has a label beyond the 3 classes, .* correct it, or set num_classes",
        ),
        ("clip.avi -1", "is not a file name and a label"),
        ("clip.avi left", "is not a file name and a label"),
        ("my clip.avi 1", "is not a file name and a label"),
        ("", "has no label"),
        ("clip.avi\t1", "has no label"),
        ("clip.avi  1", "is not a file name and a label"),
        ("clip.avi 1.0", "is not a file name and a label"),
        ("clip.avi \u00b2", "is not a file name and a label"),
        ("\ufeffclip.avi 1", "has an invisible character in the file name"),
        ("clip\x00.avi 1", "has an invisible character in the file name"),
    ],
)
@pytest.mark.parametrize("repeats", [None, 2])
def test_a_faulty_line_is_named(tmp_path, line, message, repeats):
    lines = f"clip.mp4 2\n{line}\nclip.mp4 0\n"
    with pytest.raises(UserError, match=rf"{tmp_path}/list\.txt, line 2: .*{message}"):
        build(tmp_path, lines, repeats)


def test_a_list_without_videos_or_text_is_named(tmp_path):
    with pytest.raises(UserError, match=rf"^{tmp_path}/list\.txt lists no videos"):
        build(tmp_path, "")
    other = tmp_path / "other.txt"
    other.write_bytes(b"\xff\xfeclip.mp4 1\n")
    with pytest.raises(UserError, match=rf"^{other} is not text in UTF-8"):
        build(tmp_path, "", ann_file=str(other))


def test_mmactions_other_kinds_of_lists_are_accepted(tmp_path):
    dataset = build(tmp_path, "my clip.avi,1\n", delimiter=",")
    assert dataset.get_data_info(0)["label"] == 1
    dataset = build(tmp_path, "clip.avi 0 2\n", multi_class=True)
    assert dataset.get_data_info(0)["label"].tolist() == [1, 0, 1]


# ----------------------------------------------------------------------------------------- videos


def fast_start(content):
    """An MP4 file with its index in front, as web servers have them."""
    boxes, position = {}, 0
    while position < len(content):
        size, kind = struct.unpack(">I4s", content[position : position + 8])
        boxes[kind] = content[position : position + size]
        position += size
    index = bytearray(boxes.pop(b"moov"))
    table = index.find(b"stco")
    (count,) = struct.unpack(">I", index[table + 8 : table + 12])
    for entry in range(table + 12, table + 12 + 4 * count, 4):
        (offset,) = struct.unpack(">I", index[entry : entry + 4])
        index[entry : entry + 4] = struct.pack(">I", offset + len(index))
    return boxes.pop(b"ftyp") + bytes(index) + b"".join(boxes.values())


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("repeats", [None, 2])
def test_whole_videos_are_read_from_every_container(videos, name, repeats):
    sample = build(videos, f"{name} 1\n", repeats)[0]
    sample = sample[0] if repeats else sample
    assert sample["inputs"].shape == (1, 3, 8, 32, 32)
    assert sample["data_samples"].gt_label.item() == 1


def faulty(kind, videos):
    mp4 = (videos / "clip.mp4").read_bytes()
    name, _, share = kind.partition(" at ")
    if share:
        content = fast_start(mp4) if name == "fast start" else (videos / name).read_bytes()
        return content[: int(float(share) * len(content))]
    return {"empty": b"", "text": b"not a video\n" * 99, "zeros": mp4[:99] + bytes(len(mp4))}[kind]


@pytest.mark.parametrize("repeats", [None, 2])
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty", "the file is empty"),
        ("text", "it is text, not a video"),
        ("zeros", "its recording was not completed"),
        ("clip.mp4 at 0.5", "it is truncated, [0-9]+ bytes are missing"),
        ("clip.mp4 at 0.99", "it is truncated, [0-9]+ bytes are missing"),
        ("fast start at 0.5", "it is truncated, [0-9]+ bytes are missing"),
        ("fast start at 0.9", "it is truncated, [0-9]+ bytes are missing"),
        ("clip.avi at 0.5", "it is truncated, [0-9]+ bytes are missing"),
        ("clip.avi at 0.99", "it is truncated, [0-9]+ bytes are missing"),
        ("clip.mkv at 0.7", "it is truncated, [0-9]+ bytes are missing"),
        ("clip.webm at 0.7", "it is truncated, [0-9]+ bytes are missing"),
        ("clip.webm at 0.2", "it is truncated, [0-9]+ bytes are missing"),
    ],
)
def test_an_unreadable_or_truncated_video_is_named(videos, tmp_path, kind, reason, repeats):
    name = kind.split(" at ")[0] if kind.startswith("clip") else "clip.mp4"
    (tmp_path / name).write_bytes(faulty(kind, videos))
    dataset = build(tmp_path, f"{name} 1\n", repeats)
    message = rf"{tmp_path}/{name} cannot be read: {reason}.*Replace the"
    with pytest.raises(UserError, match=message) as raised:
        dataset[0]
    assert "\n" not in str(raised.value)


def test_a_fast_start_file_is_whole_before_it_is_cut(videos, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(fast_start((videos / "clip.mp4").read_bytes()))
    assert build(tmp_path, "clip.mp4 1\n")[0]["inputs"].shape[2] == 8


def test_a_folder_that_is_named_like_a_video_is_named(tmp_path):
    (tmp_path / "clip.mp4").mkdir()
    with pytest.raises(UserError, match=rf"{tmp_path}/clip\.mp4 cannot be read: .* directory"):
        build(tmp_path, "clip.mp4 1\n")[0]


@pytest.mark.parametrize("repeats", [None, 2])
def test_a_missing_video_is_named(tmp_path, repeats):
    dataset = build(tmp_path, "absent.mp4 1\n", repeats)
    with pytest.raises(UserError, match=rf"no video {tmp_path}/absent\.mp4\. Replace the file"):
        dataset[0]


# ------------------------------------------------------------------------------- repeated samples


def test_samples_of_a_video_have_the_same_frames_decoded_once(videos, monkeypatch):
    requested = []
    read = VideoReader.read
    monkeypatch.setattr(
        VideoReader,
        "read",
        lambda reader, frames: requested.append(list(frames)) or read(reader, frames),
    )
    dataset = build(videos, "clip.mp4 1\nclip.avi 2\n", repeats=2)
    dataset.pipeline.transforms = dataset.pipeline.transforms[:3]  # no augmentation
    first, second = dataset[0]
    np.testing.assert_array_equal(first["imgs"], second["imgs"])
    (frames,) = requested
    assert frames[:8] == frames[8:]


def test_samples_of_a_video_are_augmented_independently_and_stay_together(videos):
    dataset = build(videos, "clip.mp4 1\nclip.avi 2\n", repeats=2)
    batch = COLLATE_FUNCTIONS.get("repeat_pseudo_collate")([dataset[0], dataset[1]])
    labels = [sample.gt_label.item() for sample in batch["data_samples"]]
    assert labels == [1, 1, 2, 2]
    assert not (batch["inputs"][0] == batch["inputs"][1]).all()


def test_a_video_with_fewer_frames_than_the_clip_works(videos):
    sample = build(videos, "clip.mp4 1\n", clip_len=100)[0]
    assert sample["inputs"].shape == (1, 3, 100, 32, 32)
    assert re.search(r"clip\.mp4$", sample["data_samples"].filename)
