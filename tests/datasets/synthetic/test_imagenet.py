"""The synthetic ImageNet: what is on disk, how mmpretrain reads it, and that only form tells."""

import re
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from uniformer_mm.datasets.synthetic import imagenet as synthetic_imagenet
from uniformer_mm.datasets.synthetic.imagenet import (
    CLASSES,
    FOLDERS,
    SyntheticImagenetSpec,
    draw,
    make_synthetic_imagenet,
)

SPEC = SyntheticImagenetSpec(num_train=30, num_val=13, image_size=64)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A set that tests only read."""
    return make_synthetic_imagenet(tmp_path_factory.mktemp("sets") / "imagenet", SPEC)


def listed(root: Path, split: str) -> list[tuple[str, int]]:
    lines = (root / "meta" / f"{split}.txt").read_text().splitlines()
    return [(name, int(label)) for name, label in (line.split(" ") for line in lines)]


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize(("split", "count"), [("train", 30), ("val", 13)])
def test_folders_files_and_lists_are_those_of_imagenet(root, split, count):
    assert {path.name for path in (root / split).iterdir()} == set(FOLDERS)
    files = {str(p.relative_to(root / split)) for p in (root / split).rglob("*.JPEG")}
    entries = listed(root, split)
    assert len(entries) == count
    assert {name for name, _ in entries} == files
    assert all(name.startswith(f"{FOLDERS[label]}/") for name, label in entries)
    frequency = Counter(label for _, label in entries)
    assert max(frequency.values()) - min(frequency.values()) <= 1
    pattern = r"(n\d{8})/\1_\d+\.JPEG" if split == "train" else r"n\d{8}/ILSVRC2012_val_\d{8}\.JPEG"
    assert all(re.fullmatch(pattern, name) for name in files)


def test_the_two_ways_of_mmpretrain_to_read_it_agree(root):
    ImageNet = pytest.importorskip("mmpretrain.datasets").ImageNet  # noqa: N806
    options = {"data_root": str(root), "metainfo": {"classes": CLASSES}}
    by_list = ImageNet(split="train", **options)
    by_folder = ImageNet(data_prefix="train", **options)
    assert by_list.ann_file.endswith("meta/train.txt")
    assert by_folder.ann_file == ""

    def samples(dataset):
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        return sorted((info["img_path"], info["gt_label"]) for info in infos)

    assert len(by_list) == len(by_folder) == 30
    assert samples(by_list) == samples(by_folder)


def test_sizes_vary_up_to_the_longer_side(root):
    shapes = {cv2.imread(str(path)).shape for path in root.rglob("*.JPEG")}
    assert len(shapes) > 10
    assert all(max(shape[:2]) == 64 and min(shape[:2]) >= 48 for shape in shapes)


def test_samples_depend_on_seed_split_and_index_only(root, tmp_path):
    again = make_synthetic_imagenet(tmp_path / "again", SPEC)
    assert contents(again) == contents(root)
    more = SyntheticImagenetSpec(num_train=31, num_val=14, image_size=64)
    larger = contents(make_synthetic_imagenet(tmp_path / "more", more))
    images = {name: data for name, data in contents(root).items() if name.endswith("JPEG")}
    assert images.items() <= larger.items()
    other = SyntheticImagenetSpec(num_train=30, num_val=13, image_size=64, seed=1)
    seeded = contents(make_synthetic_imagenet(tmp_path / "other", other))
    assert all(seeded[name] != data for name, data in images.items())
    assert len(set(images.values())) == 43


def test_the_smallest_set_has_every_folder(tmp_path):
    root = make_synthetic_imagenet(tmp_path / "imagenet", SyntheticImagenetSpec(1, 1, 64))
    assert {path.name for path in (root / "val").iterdir()} == set(FOLDERS)
    assert listed(root, "train") == [("n00000001/n00000001_1.JPEG", 0)]


def test_another_version_replaces_the_set(tmp_path, monkeypatch):
    spec = SyntheticImagenetSpec(2, 1, 64)
    root = make_synthetic_imagenet(tmp_path / "imagenet", spec)
    before = (root / "synthetic.json").read_text()
    monkeypatch.setattr(synthetic_imagenet, "GENERATOR_VERSION", 0)
    make_synthetic_imagenet(root, spec)
    assert (root / "synthetic.json").read_text() != before


def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / "train" / "n01440764").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="was not made by the generator"):
        make_synthetic_imagenet(tmp_path, SPEC)
    assert (tmp_path / "train" / "n01440764").is_dir()


def mean_colours(label: int) -> np.ndarray:
    """Colour of the middle of some images of a class."""
    colours = []
    for index in range(60):
        image = draw(label, 64, np.random.default_rng((label, index)))
        top, left = (side // 2 - 6 for side in image.shape[:2])
        colours.append(image[top : top + 12, left : left + 12].mean((0, 1)))
    return np.array(colours)


def test_the_colour_does_not_tell_the_class():
    colours = np.array([mean_colours(label) for label in range(len(CLASSES))])
    centres, spread = colours.mean(1), colours.std(1)
    assert np.abs(centres - centres.mean(0)).max() < 0.6 * spread.mean()


def test_the_object_fills_the_middle_and_differs_from_its_surroundings():
    for label in range(len(CLASSES)):
        image = draw(label, 128, np.random.default_rng(label))
        assert image.dtype == np.float32
        assert 0 <= image.min() <= image.max() <= 255
        height, width = image.shape[:2]
        middle = image[height // 2 - 4 :, width // 2 - 4 :][:8, :8]
        border = np.concatenate((image[0], image[-1], image[:, 0], image[:, -1]))
        assert np.abs(middle - np.median(border, axis=0)).max(-1).mean() > 25, CLASSES[label]
