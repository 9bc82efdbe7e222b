"""What all synthetic datasets share: files, seeds, reuse, replacement, interruption, processes."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from uniformer_mm.datasets.synthetic import coco
from uniformer_mm.datasets.synthetic.ade20k import SyntheticAde20k
from uniformer_mm.datasets.synthetic.ava import SyntheticAva
from uniformer_mm.datasets.synthetic.coco import SyntheticCoco
from uniformer_mm.datasets.synthetic.coco_keypoints import SyntheticCocoKeypoints
from uniformer_mm.datasets.synthetic.imagenet import FOLDERS, SyntheticImagenet
from uniformer_mm.datasets.synthetic.kinetics import SyntheticKinetics
from uniformer_mm.errors import UserError

TINY = SyntheticCoco(num_train=6, num_val=2, image_size=64)
OTHER_SEED = SyntheticCoco(num_train=6, num_val=2, image_size=64, seed=1)

# format: names of the files of two training samples and one for validation, and files with lists
FORMATS = {
    SyntheticCoco: (
        ["train2017/000000000001.jpg", "train2017/000000000002.jpg", "val2017/000000000001.jpg"],
        ["annotations/instances_train2017.json", "annotations/instances_val2017.json"],
    ),
    SyntheticCocoKeypoints: (
        ["train2017/000000000001.jpg", "train2017/000000000002.jpg", "val2017/000000000001.jpg"],
        [
            "annotations/person_keypoints_train2017.json",
            "annotations/person_keypoints_val2017.json",
            "person_detection_results/COCO_val2017_detections_AP_H_56_person.json",
        ],
    ),
    SyntheticAde20k: (
        [
            *(f"images/training/ADE_train_{index:08d}.jpg" for index in (1, 2)),
            *(f"annotations/training/ADE_train_{index:08d}.png" for index in (1, 2)),
            "images/validation/ADE_val_00000001.jpg",
            "annotations/validation/ADE_val_00000001.png",
        ],
        [],
    ),
    SyntheticImagenet: (
        [
            "train/n00000001/n00000001_1.JPEG",
            "train/n00000002/n00000002_1.JPEG",
            "val/n00000001/ILSVRC2012_val_00000001.JPEG",
        ],
        ["meta/train.txt", "meta/val.txt"],
    ),
    SyntheticAva: (
        [
            f"rawframes/{video}/img_{number:05d}.jpg"
            for video in ("train_000001", "train_000002", "val_000001")
            for number in range(1, 21)
        ],
        [
            "ava_action_list.pbtxt",
            *(f"ava_{split}.csv" for split in ("train", "val")),
            *(f"ava_{split}_excluded_timestamps.csv" for split in ("train", "val")),
            *(f"ava_proposals_{split}.pkl" for split in ("train", "val")),
        ],
    ),
    SyntheticKinetics: (
        ["videos_train/000001.mp4", "videos_train/000002.mp4", "videos_val/000001.mp4"],
        ["kinetics_train_videos.txt", "kinetics_val_videos.txt"],
    ),
}


@pytest.fixture
def root(tmp_path):
    """Where a test may generate; nothing else is in its parent folder."""
    return tmp_path / "data" / "coco"


def snapshot(root):
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def modification_times(root):
    return {path: path.stat().st_mtime_ns for path in (root, *root.rglob("*"))}


def siblings(root):
    """What is next to a dataset, without the files that processes lock."""
    names = {path.name for path in root.parent.iterdir()}
    return {name for name in names if not name.endswith(".lock")} - {root.name}


# ----------------------------------------------------------------------------------- every format


@pytest.mark.parametrize("format", FORMATS)
def test_samples_depend_on_seed_split_and_index_only(format, tmp_path):
    samples, lists = FORMATS[format]
    first = snapshot(format(2, 1, 64).make(tmp_path / "first"))
    assert first.keys() == {*samples, *lists, "synthetic.json"}
    assert first == snapshot(format(2, 1, 64).make(tmp_path / "again"))

    more = snapshot(format(3, 2, 64).make(tmp_path / "more"))
    assert all(more[name] == first[name] for name in samples)
    for name in lists:
        if name.startswith("annotations"):
            annotations = json.loads(first[name])["annotations"]
            assert json.loads(more[name])["annotations"][: len(annotations)] == annotations

    seeded = snapshot(format(2, 1, 64, seed=1).make(tmp_path / "seeded"))
    assert seeded.keys() == first.keys()
    assert all(seeded[name] != first[name] for name in samples)
    assert len({first[name] for name in samples}) == len(samples)


@pytest.mark.parametrize("format", FORMATS)
def test_a_dataset_is_reused_until_its_version_changes(format, root, monkeypatch):
    dataset = format(1, 1, 64)
    assert dataset.make(root) == root
    before = modification_times(root)
    assert dataset.make(root) == root
    assert modification_times(root) == before
    assert not siblings(root)
    monkeypatch.setattr(format, "version", format.version + 1)
    dataset.make(root)
    assert json.loads((root / "synthetic.json").read_text())["version"] == format.version


def test_the_smallest_imagenet_has_a_folder_for_every_class(tmp_path):
    SyntheticImagenet(1, 1, 64).make(tmp_path)
    for split in ("train", "val"):
        assert {path.name for path in (tmp_path / split).iterdir()} == set(FOLDERS)


# ------------------------------------------------------------------------- replaced, not replaced


@pytest.mark.parametrize(
    "dataset",
    [SyntheticCoco(4, 2, 64), SyntheticCoco(6, 3, 64), SyntheticCoco(6, 2, 80), OTHER_SEED],
)
def test_another_dataset_of_the_same_format_replaces_it(root, dataset):
    TINY.make(root)
    dataset.make(root)
    assert snapshot(root) == snapshot(dataset.make(root.parent / "fresh"))
    assert siblings(root) == {"fresh"}


@pytest.mark.parametrize("lost", ["train2017/000000000003.jpg", "annotations", "val2017"])
def test_a_dataset_with_a_missing_file_or_folder_is_generated_again(root, lost):
    complete = snapshot(TINY.make(root))
    for path in sorted((root / lost, *(root / lost).rglob("*")), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    TINY.make(root)
    assert snapshot(root) == complete


def test_an_empty_folder_and_a_link_to_one_are_filled(root):
    root.mkdir(parents=True)
    TINY.make(root)
    (root.parent / "elsewhere").mkdir()
    link = root.parent / "link"
    link.symlink_to("elsewhere")
    assert TINY.make(link) == link
    assert link.is_symlink()
    assert snapshot(link) == snapshot(root)


def refused(dataset, root, *facts):
    """Check that nothing is written or deleted, and that the error names the folder and `facts`."""
    before = modification_times(root)
    with pytest.raises(UserError) as error:
        dataset.make(root)
    assert all(fact in str(error.value) for fact in (str(root), *facts))
    assert modification_times(root) == before
    assert not siblings(root)


@pytest.mark.parametrize("format", FORMATS)
def test_a_foreign_folder_is_refused(format, root):
    (root / "train2017").mkdir(parents=True)
    (root / "train2017" / "000000000001.jpg").write_bytes(b"a real photograph")
    refused(format(1, 1, 64), root, "synthetic.json")


def test_a_file_instead_of_the_folder_is_refused(root):
    root.parent.mkdir()
    root.write_text("a file")
    refused(TINY, root)


@pytest.mark.parametrize(
    "marker",
    [
        None,
        "",
        "[]",
        '{"generator": "other"}',
        json.dumps({"generator": TINY.generator, "version": 1, "spec": {"frames": 8}}),
        json.dumps({"generator": TINY.generator, "version": 1, "spec": {"num_train": 0}}),
    ],
)
def test_a_dataset_without_a_valid_marker_is_refused(root, marker):
    TINY.make(root)
    (root / "synthetic.json").unlink()
    if marker is not None:
        (root / "synthetic.json").write_text(marker)
    refused(TINY, root, "synthetic.json")


@pytest.mark.parametrize("name", ["notes.txt", "val2017/000000000139.jpg", "work_dirs/1.pth"])
def test_an_outdated_dataset_with_a_file_of_the_user_is_refused(root, name):
    TINY.make(root)
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text("keep me")
    refused(OTHER_SEED, root, name.removesuffix("/1.pth"))
    assert TINY.make(root) == root


# ----------------------------------------------------------------- interruption, several processes


@pytest.mark.parametrize("former", [None, OTHER_SEED])
def test_an_interruption_leaves_what_was_there(root, monkeypatch, former):
    before = snapshot(former.make(root)) if former else {}

    def interrupt(mask):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(coco, "mask_to_polygons", interrupt)
        with pytest.raises(KeyboardInterrupt):
            TINY.make(root)
    assert snapshot(root) == before
    assert not siblings(root)


def test_leftovers_of_a_process_that_was_killed_are_removed(root):
    OTHER_SEED.make(root)
    for name in (".coco.partial", ".coco.old"):
        (root.parent / name).mkdir(parents=True)
        (root.parent / name / "half").touch()
    TINY.make(root)
    assert snapshot(root) == snapshot(TINY.make(root.parent / "fresh"))
    assert siblings(root) == {"fresh"}


@pytest.mark.parametrize("former", [None, OTHER_SEED])
def test_of_several_that_start_together_one_generates(root, monkeypatch, former):
    if former:
        former.make(root)
    calls = []
    write_annotations = SyntheticCoco.write_annotations

    def counted(self, paths, split, records):
        calls.append(split)
        write_annotations(self, paths, split, records)

    monkeypatch.setattr(SyntheticCoco, "write_annotations", counted)
    with ThreadPoolExecutor(3) as pool:
        assert [*pool.map(TINY.make, [root] * 3)] == [root] * 3
    assert calls == ["train2017", "val2017"]
    assert snapshot(root) == snapshot(TINY.make(root.parent / "alone"))
    assert siblings(root) == {"alone"}


@pytest.mark.parametrize(
    ("field", "value", "minimum"),
    [
        ("num_train", 0, 1),
        ("num_val", -3, 1),
        ("image_size", 63, 64),
        ("seed", -1, 0),
        ("num_train", 2.5, 1),
        ("num_val", "8", 1),
        ("seed", None, 0),
        ("seed", True, 0),
    ],
)
def test_an_invalid_field_is_named_with_its_minimum_and_value(field, value, minimum):
    with pytest.raises(UserError, match=rf"{field} .*>= {minimum}, got {value!r}$"):
        SyntheticCoco(**{field: value})
