"""The synthetic ADE20K dataset: label maps, how mmseg reads it, and how difficult it is."""

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from uniformer_mm.datasets.synthetic.ade20k import CLASSES, PALETTE, Landscape, SyntheticAde20k


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return SyntheticAde20k(40, 20, 96).make(tmp_path_factory.mktemp("sets") / "ade20k")


def label_maps(root, split):
    folder = root / "annotations" / split
    return [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("split", ["training", "validation"])
def test_label_maps_fit_their_images_and_have_every_class_and_unlabeled_pixels(root, split):
    present = set()
    for path in sorted((root / "images" / split).iterdir()):
        image = cv2.imread(str(path))
        labels = cv2.imread(
            str(root / "annotations" / split / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED
        )
        assert labels.dtype == np.uint8
        assert labels.shape == image.shape[:2]
        assert max(labels.shape) == 96
        assert 60 <= min(labels.shape) <= 77
        present |= set(np.unique(labels))
    assert present == set(range(len(CLASSES) + 1))


def test_every_class_has_its_share(root):
    counts = np.bincount(np.concatenate([m.ravel() for m in label_maps(root, "training")]))
    shares = counts / counts.sum()
    assert shares.min() > 0.01
    assert shares.max() < 0.35
    assert len(PALETTE) == len(CLASSES) == len(set(PALETTE)) == len(counts) - 1


@pytest.mark.stack
def test_mmseg_ignores_zero_and_counts_classes_from_one(root):
    from mmseg.datasets import BaseSegDataset

    init_default_scope("mmseg")
    dataset = BaseSegDataset(
        data_root=str(root),
        data_prefix={"img_path": "images/validation", "seg_map_path": "annotations/validation"},
        metainfo={"classes": CLASSES, "palette": PALETTE},
        reduce_zero_label=True,
        pipeline=[{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}],
    )
    assert len(dataset) == 20
    for index, labels in enumerate(label_maps(root, "validation")):
        expected = np.where(labels == 0, 255, labels.astype(int) - 1)
        np.testing.assert_array_equal(dataset[index]["gt_seg_map"], expected)


def test_sky_and_walls_are_above_the_ground():
    above = [CLASSES.index(name) + 1 for name in ("sky", "wall")]
    ground = [CLASSES.index(name) + 1 for name in ("grass", "water", "sand")]
    for index in range(20):
        labels = Landscape(96, np.random.default_rng(index)).labels
        for column in labels.T:
            highest_ground = np.flatnonzero(np.isin(column, ground)).min(initial=96)
            assert np.flatnonzero(np.isin(column, above)).max(initial=-1) < highest_ground


def test_color_alone_does_not_tell_the_class():
    """The best guess from the color of a pixel; training reaches more."""
    bins = 12

    def pixels(split, count):
        for index in range(count):
            scene = Landscape(64, np.random.default_rng((split, index)))
            labels, labeled = scene.labels, scene.labels > 0
            codes = (scene.image[labeled] / 256 * bins).astype(int) @ (bins**2, bins, 1)
            yield codes, labels[labeled].astype(int) - 1

    votes = np.zeros((bins**3, len(CLASSES)))
    for codes, labels in pixels(0, 128):
        np.add.at(votes, (codes, labels), 1)
    guess = votes.argmax(axis=1)
    confusion = np.zeros((len(CLASSES), len(CLASSES)))
    for codes, labels in pixels(1, 32):
        np.add.at(confusion, (labels, guess[codes]), 1)
    hit = confusion.diagonal()
    iou = hit / (confusion.sum(axis=0) + confusion.sum(axis=1) - hit)
    assert 0.2 < iou.mean() < 0.65
