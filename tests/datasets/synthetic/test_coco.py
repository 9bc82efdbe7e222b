"""The synthetic COCO dataset: annotations, what the scenes have, and how mmdet reads it."""

import colorsys
import json
from collections import Counter
from itertools import combinations

import cv2
import numpy as np
import pytest
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

from uniformer_mm.datasets.synthetic.coco import (
    CLASSES,
    InstanceScene,
    SyntheticCoco,
    mask_to_polygons,
    mask_to_rle,
)
from uniformer_mm.datasets.synthetic.drawing import PALETTE

COUNTS = {"train2017": 64, "val2017": 32}
SIZE = 160


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A dataset that tests only read."""
    return SyntheticCoco(64, 32, SIZE).make(tmp_path_factory.mktemp("sets") / "coco")


def read_json(root, split):
    return json.loads((root / "annotations" / f"instances_{split}.json").read_text())


@pytest.fixture(scope="module", params=COUNTS)
def split(request):
    return request.param


@pytest.fixture(scope="module")
def coco(root, split):
    return COCO(root / "annotations" / f"instances_{split}.json")


def test_json_has_the_sections_and_fields_of_coco(root, split):
    content = read_json(root, split)
    assert list(content) == ["info", "licenses", "images", "annotations", "categories"]
    assert [category["id"] for category in content["categories"]] == list(range(1, 7))
    assert tuple(category["name"] for category in content["categories"]) == CLASSES
    annotations = content["annotations"]
    for annotation in annotations:
        assert set(annotation) == {
            "id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation",
        }  # fmt: skip
        assert all(type(value) is float for value in annotation["bbox"])
        assert isinstance(annotation["segmentation"], dict) >= annotation["iscrowd"]
    assert [annotation["id"] for annotation in annotations] == [*range(1, len(annotations) + 1)]
    assert {a["image_id"] for a in annotations} < {i["id"] for i in content["images"]}


def test_images_have_the_stated_size(root, split):
    shapes = set()
    for info in read_json(root, split)["images"]:
        image = cv2.imread(str(root / split / info["file_name"]))
        assert image.shape == (info["height"], info["width"], 3)
        assert max(image.shape) == SIZE
        assert min(image.shape[:2]) >= SIZE * 3 / 4
        shapes.add(image.shape[0] > image.shape[1])
    assert shapes == {True, False}


def test_masks_areas_and_boxes_agree_and_masks_do_not_overlap(coco):
    num_polygons = 0
    for image_id in coco.getImgIds():
        annotations = coco.loadAnns(coco.getAnnIds(image_id))
        masks = [coco.annToMask(annotation) for annotation in annotations]
        assert np.sum(masks, axis=0).max(initial=0) <= 1
        for annotation, mask in zip(annotations, masks, strict=True):
            assert mask.sum() == annotation["area"]
            assert mask_utils.toBbox(coco.annToRLE(annotation)).tolist() == annotation["bbox"]
            if isinstance(annotation["segmentation"], list):
                points = np.concatenate(annotation["segmentation"]).reshape(-1, 2)
                x, y, width, height = annotation["bbox"]
                np.testing.assert_allclose(points.min(axis=0), (x + 0.25, y + 0.25))
                np.testing.assert_allclose(
                    points.max(axis=0), (x + width - 0.25, y + height - 0.25)
                )
                num_polygons += 1
    assert num_polygons > 50


def test_masks_cover_the_color_of_the_class(root):
    hues = {label: [] for label in range(len(CLASSES))}
    coco = COCO(root / "annotations" / "instances_val2017.json")
    for annotation in coco.loadAnns(coco.getAnnIds(iscrowd=False)):
        name = coco.imgs[annotation["image_id"]]["file_name"]
        image = cv2.imread(str(root / "val2017" / name))[..., ::-1]
        color = np.median(image[coco.annToMask(annotation) == 1], axis=0)
        hues[annotation["category_id"] - 1].append(colorsys.rgb_to_hsv(*color)[0])
    for label, values in hues.items():
        differences = (np.array(values) - colorsys.rgb_to_hsv(*PALETTE[label])[0] + 0.5) % 1 - 0.5
        assert np.abs(differences).max() < 20 / 360
        assert np.ptp(differences) > 5 / 360


def test_images_are_empty_crowded_and_have_objects_of_every_class_and_size(root, split):
    content = read_json(root, split)
    objects = [a for a in content["annotations"] if not a["iscrowd"]]
    per_image = Counter(a["image_id"] for a in objects)
    assert len(content["images"]) - len(per_image) == COUNTS[split] // 16
    assert set(per_image.values()) == {1, 2, 3, 4, 5}
    crowds = [a["image_id"] for a in content["annotations"] if a["iscrowd"]]
    assert len(crowds) == (COUNTS[split] + 5) // 10
    assert set(crowds) <= set(per_image)
    assert {a["category_id"] for a in objects} == set(range(1, len(CLASSES) + 1))
    longer_sides = [max(a["bbox"][2:]) / SIZE for a in objects]
    assert 0.03 < min(longer_sides) < 0.15
    assert 0.4 < max(longer_sides) < 0.75


def test_objects_overlap_but_none_is_hidden_beyond_the_limit(coco):
    overlaps = 0
    for image_id in coco.getImgIds():
        boxes = [a["bbox"] for a in coco.loadAnns(coco.getAnnIds(image_id, iscrowd=False))]
        overlaps += sum(
            mask_utils.iou(np.array([a]), np.array([b]), [0]).item() > 0.05
            for a, b in combinations(boxes, 2)
        )
    assert overlaps > 5
    for index in range(10):
        scene = InstanceScene(128, np.random.default_rng((0, 0, index)), index=4)
        assert scene.instances[0].is_crowd
        for instance in scene.instances:
            assert instance.visible.sum() / instance.full_area >= 1 - InstanceScene.max_hidden


# -------------------------------------------------------------------------------- mask encodings


def test_masks_with_a_hole_have_no_polygons():
    mask = np.zeros((20, 30), dtype=bool)
    mask[3:15, 5:20] = True
    assert len(mask_to_polygons(mask) or []) == 1
    mask[8, 9] = False
    assert mask_to_polygons(mask) is None


def test_polygons_decode_to_their_mask_even_of_single_pixels():
    rng = np.random.default_rng(0)
    decoded = 0
    for _ in range(200):
        mask = rng.random((9, 11)) < rng.uniform(0.05, 0.5)
        polygons = mask_to_polygons(mask) if mask.any() else None
        if polygons:
            rle = mask_utils.merge(mask_utils.frPyObjects(polygons, *mask.shape))
            np.testing.assert_array_equal(mask_utils.decode(rle), mask)
            decoded += 1
    assert decoded > 50


@pytest.mark.parametrize("fill", [0.0, 0.3, 1.0])
def test_run_lengths_agree_with_pycocotools(fill):
    mask = np.random.default_rng(0).random((13, 7)) < fill
    rle = mask_utils.frPyObjects(mask_to_rle(mask), *mask.shape)
    expected = mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert rle["counts"] == expected["counts"]


# ------------------------------------------------------------------------------------------ mmdet


@pytest.mark.stack
def test_mmdet_reads_boxes_masks_crowds_and_empty_images(root):
    from mmdet.datasets import CocoDataset
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")

    def dataset(split, **options):
        return CocoDataset(
            data_root=str(root),
            ann_file=f"annotations/instances_{split}.json",
            data_prefix={"img": f"{split}/"},
            metainfo={"classes": CLASSES, "palette": PALETTE},
            pipeline=[
                {"type": "LoadImageFromFile"},
                {"type": "LoadAnnotations", "with_bbox": True, "with_mask": True},
            ],
            **options,
        )

    val = dataset("val2017", test_mode=True)
    coco = COCO(root / "annotations" / "instances_val2017.json")
    assert len(val) == COUNTS["val2017"]
    for index in range(len(val)):
        sample = val[index]
        annotations = coco.loadAnns(coco.getAnnIds(sample["img_id"]))
        assert sample["gt_bboxes_labels"].tolist() == [a["category_id"] - 1 for a in annotations]
        assert sample["gt_ignore_flags"].tolist() == [bool(a["iscrowd"]) for a in annotations]
        assert sample["gt_masks"].masks.shape[1:] == sample["img"].shape[:2]
        assert sample["gt_masks"].areas.tolist() == [a["area"] for a in annotations]
    train = dataset("train2017", filter_cfg={"filter_empty_gt": True})
    assert len(train) == COUNTS["train2017"] * 15 / 16
