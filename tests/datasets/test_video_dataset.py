"""Faulty lists and videos are named; repeated samples have the same frames."""

import cv2
import numpy as np
import pytest
from mmaction.registry import DATASETS
from mmengine.dataset import COLLATE_FUNCTIONS, ClassBalancedDataset
from mmengine.registry import init_default_scope

import uniformer_mm.video  # noqa: F401
from uniformer_mm.datasets.media import VideoWriter
from uniformer_mm.datasets.video_dataset import check_plain_list
from uniformer_mm.datasets.video_reader import VideoReader
from uniformer_mm.errors import UserError

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Two videos of 60 frames."""
    folder = tmp_path_factory.mktemp("videos")
    background = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    for name in ("clip.mp4", "other.mp4"):
        with VideoWriter(folder / name, 20) as writer:
            for number in range(60):
                writer.write(np.roll(background, number, axis=1))
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
        ("clip.avi", r"'clip\.avi' has no label"),
        ("clip.avi 3", r"'clip\.avi 3' has a label beyond the 3 classes"),
        ("clip.avi -1", "is not a file name and a label"),
        ("clip.avi left", "is not a file name and a label"),
        ("clip.avi 1 2", "is not a file name and a label: .* multi_class=True"),
        ("clip.avi,1", "has no label: .*`delimiter` of the dataset"),
        ("", "has no label"),
        ("clip.avi\t1", "has no label"),
        ("clip.avi 1.0", "is not a file name and a label"),
        ("clip.avi \u00b2", "is not a file name and a label"),
        ("\ufeffclip.avi 1", "has an invisible character in the file name"),
        ("clip\x00.avi 1", "has an invisible character in the file name"),
    ],
)
@pytest.mark.parametrize("repeats", [None, 2])
def test_a_faulty_line_is_named(tmp_path, line, message, repeats):
    with pytest.raises(UserError, match=rf"{tmp_path}/list\.txt, line 2: .*{message}"):
        build(tmp_path, f"clip.mp4 2\n{line}\nclip.mp4 0\n", repeats)


def test_a_list_without_videos_or_text_is_named(tmp_path):
    with pytest.raises(UserError, match=rf"^{tmp_path}/list\.txt lists no videos"):
        build(tmp_path, "")
    other = tmp_path / "other.txt"
    other.write_bytes(b"\xff\xfeclip.mp4 1\n")
    with pytest.raises(UserError, match=rf"^{other} is not text in UTF-8"):
        build(tmp_path, "", ann_file=str(other))


@pytest.mark.parametrize("delimiter", [" ", ","])
@pytest.mark.parametrize("sign", [" ", "  ", ",", ", ", "\t", ";"])
def test_the_delimiter_is_found_and_names_may_have_spaces(tmp_path, sign, delimiter):
    lines = f"my clip.avi{sign}1\na,b.avi{sign}2\n"
    dataset = build(tmp_path, lines, delimiter=delimiter)
    infos = [dataset.get_data_info(index) for index in range(2)]
    assert [info["label"] for info in infos] == [1, 2]
    names = [tmp_path / "my clip.avi", tmp_path / "a,b.avi"]
    assert [info["filename"] for info in infos] == [str(name) for name in names]


@pytest.mark.parametrize("sign", [" ", ","])
def test_videos_may_have_several_labels(tmp_path, sign):
    dataset = build(tmp_path, f"my clip.avi{sign}0{sign}2\nb.avi{sign}1\n", multi_class=True)
    assert dataset.get_data_info(0)["label"].tolist() == [1, 0, 1]
    assert dataset.get_data_info(1)["label"].tolist() == [0, 1, 0]
    with pytest.raises(UserError, match=r"list\.txt: .* needs num_classes"):
        build(tmp_path, "b.avi 1\n", multi_class=True, num_classes=None)


@pytest.mark.parametrize("multi_class", [False, True])
def test_classes_may_be_balanced(tmp_path, multi_class):
    dataset = build(tmp_path, "a.avi 0\n" * 15 + "b.avi 1\n", 2, multi_class=multi_class)
    balanced = ClassBalancedDataset(dataset, oversample_thr=0.5)
    assert [balanced.get_cat_ids(index) for index in range(len(balanced))] == [[0]] * 15 + [[1]] * 3


def frames(folder, lines, **options):
    return build(
        folder,
        lines,
        type="mmengine.CheckedRawframeDataset",
        data_prefix={"img": "frames"},
        pipeline=[
            {"type": "SampleFrames", "clip_len": 2, "frame_interval": 1},
            {"type": "RawFrameDecode"},
        ],
        **options,
    )


def test_folders_of_frames_are_read(tmp_path):
    (tmp_path / "frames" / "my clip").mkdir(parents=True)
    for number in (1, 2):
        image = np.full((8, 8, 3), (0, 0, 100 * number), np.uint8)
        cv2.imwrite(str(tmp_path / "frames" / "my clip" / f"img_{number:05}.jpg"), image)
    sample = frames(tmp_path, "my clip 2 1\n")[0]
    assert [round(image[..., 0].mean(), -1) for image in sample["imgs"]] == [100, 200]
    assert (sample["label"], sample["total_frames"]) == (1, 2)
    dataset = frames(tmp_path, "my clip,0,2,0,2\n", multi_class=True, with_offset=True)
    info = dataset.get_data_info(0)
    assert (info["offset"], info["total_frames"], info["label"].tolist()) == (0, 2, [1, 0, 1])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("clip 2", "is not a folder, a number of frames and a label"),
        ("clip", "has no label"),
        ("clip 2 x", "is not a folder, a number of frames and a label"),
        ("clip 2 1 0", r"is not a folder, .* Several labels need multi_class=True"),
        ("clip 2 3", "has a label beyond the 3 classes"),
    ],
)
def test_a_faulty_line_of_frames_is_named(tmp_path, line, message):
    with pytest.raises(UserError, match=rf"{tmp_path}/list\.txt, line 2: .*{message}"):
        frames(tmp_path, f"a 5 1\n{line}\n")
    listing = tmp_path / "list.txt"
    plain = {"type": "RawframeDataset", "num_classes": 3}
    with pytest.raises(UserError, match=rf"{listing}, line 2: .*{message}"):
        check_plain_list(str(listing), plain)


def test_what_mmactions_own_datasets_cannot_read_is_named(tmp_path):
    path = tmp_path / "list.txt"
    for text in ("b.avi,1\n", "my b.avi 1\n"):
        path.write_text(text)
        with pytest.raises(UserError, match=r"list\.txt, line 1: .*type='mmengine\.CheckedVideo"):
            check_plain_list(str(path), {"type": "VideoDataset"})
    path.write_text("b.avi,1\n")
    check_plain_list(str(path), {"type": "VideoDataset", "delimiter": ","})


# ----------------------------------------------------------------------------------------- videos


@pytest.mark.parametrize("repeats", [None, 2])
def test_samples_have_the_shape_of_the_pipeline(videos, repeats):
    sample = build(videos, "clip.mp4 1\n", repeats, clip_len=100)[0]  # more frames than it has
    sample = sample[0] if repeats else sample
    assert sample["inputs"].shape == (1, 3, 100, 32, 32)
    assert sample["data_samples"].gt_label.item() == 1
    assert sample["data_samples"].filename == str(videos / "clip.mp4")


@pytest.mark.parametrize("repeats", [None, 2])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not a video\n", r"clip\.mp4 cannot be read: it is text"),
        (None, r"no video .*clip\.mp4"),
        ("folder", r"clip\.mp4 cannot be read: .* directory"),
    ],
)
def test_an_unreadable_video_is_named_with_its_list(tmp_path, content, reason, repeats):
    if content == "folder":
        (tmp_path / "clip.mp4").mkdir()
    elif content:
        (tmp_path / "clip.mp4").write_bytes(content)
    dataset = build(tmp_path, "clip.mp4 1\n", repeats)
    with pytest.raises(UserError, match=rf"{reason}.*{tmp_path}/list\.txt") as raised:
        dataset[0]
    assert "\n" not in str(raised.value)


# ------------------------------------------------------------------------------- repeated samples


def test_samples_of_a_video_have_the_same_frames_decoded_once(videos, monkeypatch):
    requested = []
    read = VideoReader.read
    monkeypatch.setattr(
        VideoReader,
        "read",
        lambda reader, frames: requested.append(list(frames)) or read(reader, frames),
    )
    dataset = build(videos, "clip.mp4 1\nother.mp4 2\n", repeats=2)
    dataset.pipeline.transforms = dataset.pipeline.transforms[:3]  # no augmentation
    first, second = dataset[0]
    np.testing.assert_array_equal(first["imgs"], second["imgs"])
    (frames,) = requested
    assert frames[:8] == frames[8:]


def test_samples_of_a_video_are_augmented_independently_and_stay_together(videos):
    dataset = build(videos, "clip.mp4 1\nother.mp4 2\n", repeats=2)
    batch = COLLATE_FUNCTIONS.get("repeat_pseudo_collate")([dataset[0], dataset[1]])
    labels = [sample.gt_label.item() for sample in batch["data_samples"]]
    assert labels == [1, 1, 2, 2]
    assert not (batch["inputs"][0] == batch["inputs"][1]).all()
