"""The synthetic ADE20K set: what is on disk, how mmseg takes it, and how hard it is."""

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from uniformer_mm.datasets.synthetic.ade20k import (
    CLASSES,
    PALETTE,
    SyntheticAde20kSpec,
    draw_scene,
    make_synthetic_ade20k,
)

SPEC = SyntheticAde20kSpec(num_train=40, num_val=20, image_size=96)
SPLITS = {"training": "ADE_train", "validation": "ADE_val"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_synthetic_ade20k(tmp_path_factory.mktemp("sets") / "ade20k", SPEC)


def files(root):
    return {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}


def label_maps(root, split):
    folder = root / "annotations" / split
    return [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted(folder.iterdir())]


def test_layout_is_that_of_ade20k(root):
    expected = {"synthetic.json"}
    for (split, prefix), count in zip(SPLITS.items(), (40, 20), strict=True):
        names = [f"{prefix}_{index:08d}" for index in range(1, count + 1)]
        expected |= {f"images/{split}/{name}.jpg" for name in names}
        expected |= {f"annotations/{split}/{name}.png" for name in names}
    assert set(files(root)) == expected


@pytest.mark.parametrize("split", SPLITS)
def test_label_maps_fit_their_images_and_have_every_class_and_unlabelled_pixels(root, split):
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
        _, labels = draw_scene(96, np.random.default_rng(index))
        for column in labels.T:
            highest_ground = np.flatnonzero(np.isin(column, ground)).min(initial=96)
            assert np.flatnonzero(np.isin(column, above)).max(initial=-1) < highest_ground


def test_colour_alone_does_not_tell_the_class():
    """The best guess from the colour of a pixel; training reaches more, see `Segmentation`."""
    bins = 12

    def pixels(split, count):
        for index in range(count):
            canvas, labels = draw_scene(64, np.random.default_rng((split, index)))
            labelled = labels > 0
            codes = (canvas[labelled] / 256 * bins).astype(int) @ (bins**2, bins, 1)
            yield codes, labels[labelled].astype(int) - 1

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


def test_a_set_is_a_function_of_its_spec_and_samples_not_of_the_counts(root, tmp_path):
    fewer = SyntheticAde20kSpec(num_train=3, num_val=2, image_size=96)
    other_seed = SyntheticAde20kSpec(num_train=3, num_val=2, image_size=96, seed=1)
    made = files(make_synthetic_ade20k(tmp_path / "fewer", fewer))
    other = files(make_synthetic_ade20k(tmp_path / "other", other_seed))
    originals = files(root)
    for name, path in made.items():
        if name != "synthetic.json":
            assert path.read_bytes() == originals[name].read_bytes()
            assert path.read_bytes() != other[name].read_bytes()


def test_splits_differ(root):
    contents = {
        path.read_bytes() for name, path in files(root).items() if name.startswith("images")
    }
    assert len(contents) == 60


def test_a_set_is_reused_and_a_folder_of_the_users_own_is_refused(root, tmp_path):
    before = {name: path.stat().st_mtime_ns for name, path in files(root).items()}
    make_synthetic_ade20k(root, SPEC)
    assert {name: path.stat().st_mtime_ns for name, path in files(root).items()} == before
    (tmp_path / "notes.txt").write_text("keep me")
    with pytest.raises(FileExistsError, match="was not made by the generator"):
        make_synthetic_ade20k(tmp_path, SPEC)
    assert (tmp_path / "notes.txt").read_text() == "keep me"
