"""The synthetic COCO keypoints: annotations, what the scenes have, and how mmpose reads them."""

import json
from collections import Counter

import cv2
import numpy as np
import pytest
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

from uniformer_mm.datasets.synthetic.coco_keypoints import DETECTIONS, SyntheticCocoKeypoints
from uniformer_mm.datasets.synthetic.stick_figures import JOINTS, Figure

SPLITS = ("train2017", "val2017")
COUNTS = dict(zip(SPLITS, (40, 20), strict=True))
SIZE = 160


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A dataset that tests only read."""
    return SyntheticCocoKeypoints(40, 20, SIZE).make(tmp_path_factory.mktemp("sets") / "coco")


@pytest.fixture(scope="module", params=SPLITS)
def coco(request, root):
    return COCO(root / "annotations" / f"person_keypoints_{request.param}.json")


def read(root, split):
    return json.loads((root / "annotations" / f"person_keypoints_{split}.json").read_text())


def persons_of(root, split):
    """Annotated persons with labeled joints, and these joints (17, 3)."""
    for person in read(root, split)["annotations"]:
        if person["num_keypoints"]:
            yield person, np.reshape(person["keypoints"], (17, 3))


@pytest.mark.slow
def test_keypoints_are_pixels_of_the_image_or_not_labeled(coco):
    for person in coco.anns.values():
        assert set(person) == {
            "id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation",
            "num_keypoints", "keypoints",
        }  # fmt: skip
        image = coco.imgs[person["image_id"]]
        assert all(type(number) is int for number in person["keypoints"])
        x, y, flags = np.reshape(person["keypoints"], (17, 3)).T
        assert set(flags) <= {0, 1, 2}
        assert person["num_keypoints"] == (flags > 0).sum()
        assert not np.stack((x, y))[:, flags == 0].any()
        assert ((x >= 0) & (x < image["width"]) & (y >= 0) & (y < image["height"])).all()


def test_visible_joints_lie_on_their_person_and_hidden_ones_behind_something(coco):
    """A hidden joint is behind another person, or behind an own part."""
    behind = Counter()
    for person in coco.anns.values():
        mask = cv2.dilate(coco.annToMask(person), np.ones((3, 3), np.uint8))
        for x, y, flag in np.reshape(person["keypoints"], (17, 3)):
            if flag == 2:
                assert mask[y, x], (person["id"], x, y)
            elif flag == 1:
                behind["own part" if mask[y, x] else "other person"] += 1
    assert min(behind["own part"], behind["other person"]) > 5


def test_left_is_on_the_right_of_the_image_if_and_only_if_the_face_is_visible():
    faces = Counter()
    for seed in range(60):
        figure = Figure(100, np.random.default_rng(seed))
        shows_face = bool(figure.seen[JOINTS.index("nose")])
        faces[shows_face] += 1
        for joint in ("shoulder", "hip"):
            left, right = (JOINTS.index(f"{side}_{joint}") for side in ("left", "right"))
            assert (figure.joints[left, 0] > figure.joints[right, 0]) == shows_face
    assert faces[False] >= 4


def test_images_without_persons_crowds_and_all_visibilities_occur(root):
    for split in SPLITS:
        content = read(root, split)
        persons = Counter(p["image_id"] for p, _ in persons_of(root, split))
        num_without_persons = len(content["images"]) - len(persons)
        assert num_without_persons >= COUNTS[split] // 20
        assert set(persons.values()) == {1, 2, 3, 4}
        others = [p for p in content["annotations"] if not p["num_keypoints"]]
        assert sum(p["iscrowd"] for p in others) == COUNTS[split] // 10
        assert sum(not p["iscrowd"] for p in others) >= COUNTS[split] // 10
        flags = Counter(np.concatenate([k[:, 2] for _, k in persons_of(root, split)]).tolist())
        assert min(flags[0], flags[1]) > 0.03 * flags.total()
        assert flags[2] > 0.7 * flags.total()
    sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    at_border = [
        p["bbox"][0] == 0 or p["bbox"][0] + p["bbox"][2] == sizes[p["image_id"]][0]
        for p, _ in persons_of(root, "val2017")
    ]
    assert 0 < sum(at_border) < len(at_border)


def test_poses_and_sizes_vary(root):
    persons = [*persons_of(root, "train2017")]
    heights = [p["bbox"][3] for p, _ in persons]
    assert max(heights) > 1.7 * min(heights)
    wrists = np.array([k[9, :2] - k[5, :2] for _, k in persons if k[5, 2] and k[9, 2]])
    assert 0.1 < (wrists[:, 1] < 0).mean() < 0.7  # share of raised arms


def test_detected_boxes_are_near_every_person_or_of_low_score(root):
    boxes = json.loads((root / DETECTIONS).read_text())
    content = read(root, "val2017")
    assert all(set(box) == {"image_id", "category_id", "bbox", "score"} for box in boxes)
    assert {box["category_id"] for box in boxes} == {1}
    assert {box["image_id"] for box in boxes} <= {image["id"] for image in content["images"]}
    for person in content["annotations"]:
        candidates = [box for box in boxes if box["image_id"] == person["image_id"]]
        overlaps = mask_utils.iou(
            np.array([box["bbox"] for box in candidates]), np.array([person["bbox"]]), [0]
        )
        best = candidates[int(overlaps.argmax())]
        assert overlaps.max() > 0.7
        assert best["score"] >= (0.9 if person["num_keypoints"] else 0.5)
    wrong = len(boxes) - len(content["annotations"])
    assert wrong > 5
    assert sum(box["score"] < 0.21 for box in boxes) == wrong
    off = [box["bbox"] not in [p["bbox"] for p in content["annotations"]] for box in boxes]
    assert all(off)


@pytest.mark.stack
def test_mmpose_reads_labeled_persons_for_training_and_the_boxes_for_testing(root):
    from mmengine.registry import init_default_scope

    init_default_scope("mmpose")
    from mmpose.datasets import CocoDataset

    metainfo = CocoDataset(lazy_init=True).metainfo
    (category,) = read(root, "val2017")["categories"]
    assert category["keypoints"] == list(metainfo["keypoint_id2name"].values())
    ours = {frozenset((first - 1, second - 1)) for first, second in category["skeleton"]}
    assert ours == {frozenset(link) for link in metainfo["skeleton_links"]}

    common = {"data_root": f"{root}/", "data_mode": "topdown"}
    train = CocoDataset(
        ann_file="annotations/person_keypoints_train2017.json",
        data_prefix={"img": "train2017/"},
        **common,
    )
    assert len(train) == len([*persons_of(root, "train2017")])
    test = CocoDataset(
        ann_file="annotations/person_keypoints_val2017.json",
        bbox_file=f"{root}/{DETECTIONS}",
        data_prefix={"img": "val2017/"},
        test_mode=True,
        **common,
    )
    assert len(test) == len(json.loads((root / DETECTIONS).read_text()))


def test_the_ground_truth_has_an_ap_of_1(root):
    from xtcocotools import coco
    from xtcocotools.cocoeval import COCOeval

    ground_truth = coco.COCO(str(root / "annotations" / "person_keypoints_val2017.json"))
    results = [
        {"image_id": p["image_id"], "category_id": 1, "keypoints": k.ravel().tolist(), "score": 1}
        for p, k in persons_of(root, "val2017")
    ]
    sigmas = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89])
    evaluation = COCOeval(ground_truth, ground_truth.loadRes(results), "keypoints", sigmas / 1000)
    evaluation.params.useSegm = None
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)
