"""An image of another size than its annotations state is named with the likely cause."""

import json
import pickle

import cv2
import numpy as np
import pytest
from mmengine.registry import DATASETS, TRANSFORMS, DefaultScope
from PIL import Image
from torch.utils.data import DataLoader

from uniformer_mm.datasets.error_context import ErrorContextDataset
from uniformer_mm.datasets.validation.image_sizes import CheckedLoading, check_image_sizes
from uniformer_mm.errors import UserError

pytestmark = pytest.mark.stack
WIDTH, HEIGHT = 40, 30
LOAD = {"type": "LoadImageFromFile"}
BOXES = {"type": "LoadAnnotations", "with_bbox": True}


def write_set(folder, stated, stored=(WIDTH, HEIGHT), orientation=None):
    """Two images, the second of which is stored and stated as given; width first."""
    rng = np.random.default_rng(0)
    images, persons = [], []
    for id_, (said, size) in enumerate([((WIDTH, HEIGHT), (WIDTH, HEIGHT)), (stated, stored)]):
        pixels = rng.integers(0, 255, (*size[::-1], 3), np.uint8)
        exif = Image.Exif()
        if id_ and orientation:
            exif[274] = orientation
        Image.fromarray(pixels).save(folder / f"{id_}.jpg", exif=exif)
        images.append({"id": id_, "file_name": f"{id_}.jpg", "width": said[0], "height": said[1]})
        person = {"id": id_, "image_id": id_, "category_id": 1, "bbox": [2, 3, 20, 20], "area": 400}
        persons.append({**person, "iscrowd": 0, "keypoints": [5, 6, 2] * 17, "num_keypoints": 17})
    content = {"images": images, "annotations": persons}
    content["categories"] = [{"id": 1, "name": "person"}]
    (folder / "set.json").write_text(json.dumps(content))
    return {
        "type": "CocoDataset",
        "ann_file": str(folder / "set.json"),
        "data_prefix": {"img": str(folder)},
    }


def read(config, scope="mmdet", pipeline=(LOAD, BOXES), index=1):
    with DefaultScope.overwrite_default_scope(scope):
        dataset = DATASETS.build({**config, "pipeline": list(pipeline)})
        check_image_sizes(dataset)
        check_image_sizes(dataset)  # a second time changes nothing
        return dataset[index]


CASES = {
    "exchanged": ((HEIGHT, WIDTH), (WIDTH, HEIGHT), None, "width and height are exchanged"),
    "twice": ((WIDTH, HEIGHT), (2 * WIDTH, 2 * HEIGHT), None, "2 times the size"),
    "cropped": ((WIDTH, HEIGHT), (WIDTH, 24), None, "it was cropped"),
    "stored": ((WIDTH, HEIGHT), (WIDTH, HEIGHT), 6, "EXIF orientation 6 .*for the stored pixels"),
}
PIPELINES = {"mmdet": (LOAD, BOXES), "mmpose": ({"type": "LoadImage"},)}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("test_mode", [False, True])
@pytest.mark.parametrize("scope", PIPELINES)
def test_the_file_both_sizes_and_the_cause_are_named(tmp_path, case, test_mode, scope):
    stated, stored, orientation, cause = CASES[case]
    config = {**write_set(tmp_path, stated, stored, orientation), "test_mode": test_mode}
    assert read(config, scope, PIPELINES[scope], index=0)["img"].shape == (HEIGHT, WIDTH, 3)
    shown = stored[::-1] if orientation else stored
    said = rf"1\.jpg has {shown[0]} x {shown[1]} pixels, but .*set\.json states {stated[0]} x"
    with pytest.raises(UserError, match=rf"{said} {stated[1]} for it: .*{cause}"):
        read(config, scope, PIPELINES[scope])


@pytest.mark.parametrize("backend", ["cv2", "pillow"])
def test_rotated_images_pass_if_their_upright_size_is_stated(tmp_path, backend):
    config = write_set(tmp_path, (HEIGHT, WIDTH), orientation=6)
    upright = {**LOAD, "imdecode_backend": backend}
    assert read(config, pipeline=[upright, BOXES])["img"].shape == (WIDTH, HEIGHT, 3)
    stored = {**upright, "color_type": "color_ignore_orientation"}
    with pytest.raises(UserError, match="ignores the EXIF orientation 6"):
        read(config, pipeline=[stored, BOXES])


def test_images_are_checked_for_every_kind_of_sample(tmp_path):
    config = write_set(tmp_path, (HEIGHT, WIDTH))
    boxes = [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 9, 9], "score": 0.5}]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    detected = {**config, "bbox_file": str(tmp_path / "boxes.json"), "test_mode": True}
    bottom_up = {**config, "data_mode": "bottomup"}
    nested = [{"type": "RandomChoice", "transforms": [[LOAD], [LOAD]]}, BOXES]
    for arguments in (
        (detected, "mmpose", PIPELINES["mmpose"], 0),
        (bottom_up, "mmpose", PIPELINES["mmpose"]),
        (config, "mmdet", nested),
    ):
        with pytest.raises(UserError, match=r"1\.jpg has 40 x 30 pixels"):
            read(*arguments)


MIXING = {
    "mosaic": ([{"type": "Mosaic", "img_scale": (32, 32), "prob": 1.0}], ()),
    "mixup": ([{"type": "MixUp", "img_scale": (32, 32), "ratio_range": (1.0, 1.0)}], ()),
    "cached mosaic": (
        (),
        [{"type": "CachedMosaic", "img_scale": (32, 32), "max_cached_images": 4}],
    ),
    "choice": (
        (),
        [{"type": "RandomChoice", "transforms": [[{"type": "RandomFlip", "prob": 0.5}]]}],
    ),
}


@pytest.mark.parametrize(
    ("name", "wrapper"),
    [
        *[(name, None) for name in MIXING],
        ("mosaic", "RepeatDataset"),
        ("mixup", "ConcatDataset"),
        ("choice", "ClassBalancedDataset"),
    ],
)
def test_wrapped_and_mixed_images_are_checked(tmp_path, name, wrapper):
    outer, inner = MIXING[name]
    leaf = {**write_set(tmp_path, (HEIGHT, WIDTH)), "pipeline": [LOAD, BOXES, *inner]}
    config = leaf
    if wrapper == "ConcatDataset":
        config = {"type": wrapper, "datasets": [leaf, leaf]}
    elif wrapper:
        more = {"times": 2} if wrapper == "RepeatDataset" else {"oversample_thr": 0.1}
        config = {"type": wrapper, "dataset": leaf, **more}
    if outer:
        config = {"type": "MultiImageMixDataset", "dataset": config, "pipeline": list(outer)}
    with DefaultScope.overwrite_default_scope("mmdet"):
        dataset = DATASETS.build(config)
        assert check_image_sizes(dataset)
        with pytest.raises(UserError, match=r"1\.jpg has 40 x 30"):
            list(map(dataset.__getitem__, range(len(dataset))))


def test_workers_check_too(tmp_path):
    config = write_set(tmp_path, (HEIGHT, WIDTH))
    with DefaultScope.overwrite_default_scope("mmdet"):
        dataset = DATASETS.build({**config, "pipeline": [LOAD, BOXES]})
    check_image_sizes(dataset)
    dataset.__getitems__ = ErrorContextDataset(dataset).__getitems__
    loader = DataLoader(dataset, num_workers=1, collate_fn=list, multiprocessing_context="fork")
    with pytest.raises(UserError, match=r"1\.jpg has 40 x 30"):
        list(loader)
    with pytest.raises(UserError, match=r"1\.jpg has 40 x 30"):  # what a spawned worker gets
        pickle.loads(pickle.dumps(dataset)).__getitems__([1])


@TRANSFORMS.register_module(force=True)
class LoadHalf:
    """A loader of the user's own."""

    def __call__(self, results):
        image = cv2.imread(results["img_path"])[::2, ::2]
        return {**results, "img": image, "img_shape": image.shape[:2], "ori_shape": image.shape[:2]}


def test_loaders_and_datasets_of_others_are_left_alone(tmp_path):
    config = write_set(tmp_path, (WIDTH, HEIGHT))
    assert read(config, pipeline=[{"type": "mmengine.LoadHalf"}, BOXES])["img"].shape[0] == 15
    with DefaultScope.overwrite_default_scope("mmdet"):
        other = DATASETS.build({"type": "XMLDataset", "lazy_init": True, "pipeline": [LOAD]})
    assert check_image_sizes(other) == []
    assert "transform" not in vars(other.pipeline.transforms[0])


def test_a_loader_is_wrapped_once(tmp_path):
    config = write_set(tmp_path, (WIDTH, HEIGHT))
    with DefaultScope.overwrite_default_scope("mmdet"):
        dataset = DATASETS.build({**config, "pipeline": [LOAD]})
    check_image_sizes(dataset)
    check_image_sizes(dataset)
    (loader,) = dataset.pipeline.transforms
    assert isinstance(loader.transform, CheckedLoading)
    assert loader.transform.loader is loader
