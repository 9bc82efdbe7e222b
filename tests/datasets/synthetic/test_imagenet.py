"""The synthetic ImageNet: files, how mmpretrain reads it, and that color tells no class."""

import re
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from uniformer_mm.datasets.synthetic.imagenet import (
    CLASSES,
    FOLDERS,
    ObjectScene,
    SyntheticImagenet,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A dataset that tests only read."""
    return SyntheticImagenet(30, 13, 64).make(tmp_path_factory.mktemp("sets") / "imagenet")


def listed(root: Path, split: str) -> list[tuple[str, int]]:
    lines = (root / "meta" / f"{split}.txt").read_text().splitlines()
    return [(name, int(label)) for name, label in (line.split(" ") for line in lines)]


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


@pytest.mark.stack
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


def mean_colors(label: int) -> np.ndarray:
    """Colour of the middle of some images of a class."""
    colors = []
    for index in range(30):
        image = ObjectScene(label, 64, np.random.default_rng((label, index))).image
        top, left = (side // 2 - 6 for side in image.shape[:2])
        colors.append(image[top : top + 12, left : left + 12].mean((0, 1)))
    return np.array(colors)


def test_the_color_does_not_tell_the_class():
    colors = np.array([mean_colors(label) for label in range(len(CLASSES))])
    centres, spread = colors.mean(1), colors.std(1)
    assert np.abs(centres - centres.mean(0)).max() < 0.6 * spread.mean()


def test_the_object_fills_the_middle_and_differs_from_its_surroundings():
    for label in range(len(CLASSES)):
        image = ObjectScene(label, 128, np.random.default_rng(label)).image
        assert image.dtype == np.float32
        assert 0 <= image.min() <= image.max() <= 255
        height, width = image.shape[:2]
        middle = image[height // 2 - 4 :, width // 2 - 4 :][:8, :8]
        border = np.concatenate((image[0], image[-1], image[:, 0], image[:, -1]))
        assert np.abs(middle - np.median(border, axis=0)).max(-1).mean() > 25, CLASSES[label]
