"""Crops and augmentations of person boxes are those of mmpose 0.16."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import TRANSFORMS, init_default_scope
from scipy import stats

from uniformer_mm.datasets.transforms import pose_transforms

pytestmark = pytest.mark.stack

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "pose"
SIZE = np.array((40.0, 100.0))
ALPHA = 1e-3


@pytest.fixture(scope="module")
def pipeline():
    """The training transforms of a config by type."""
    init_default_scope("mmpose")
    cfg = Config.fromfile(CONFIGS / "td_hm_uniformer_s_256x192.py")
    return {step.type: TRANSFORMS.build(step) for step in cfg.train_dataloader.dataset.pipeline}


def person(number=0, corner=(30.0, 50.0), size=SIZE):
    box = np.concatenate((corner, np.add(corner, size))).astype(np.float32)
    return {"id": number, "bbox": box[None], "img": np.zeros((400, 300, 3), dtype=np.uint8)}


# ----------------------------------------------------------------------------------------- offsets


def offsets(pipeline, count):
    """Offsets (count, 2) of the centres as shares of the boxes' sizes."""
    moved = []
    for number in range(count):
        sample = pipeline["GetBBoxCenterScale"](person(number))
        before = sample["bbox_center"].copy()
        sample = pipeline["mmengine.BoxCentreJitter"](sample)
        moved.append((sample["bbox_center"] - before)[0] / SIZE)
    return np.array(moved)


def test_three_of_ten_boxes_move_uniformly_by_up_to_a_fifth_of_their_unpadded_size(pipeline):
    shares = offsets(pipeline, 4000)
    moved = shares[(shares != 0).any(axis=1)]
    assert stats.binomtest(len(moved), len(shares), 0.3).pvalue > ALPHA
    for axis in (0, 1):
        assert stats.kstest(moved[:, axis], stats.uniform(-0.2, 0.4).cdf).pvalue > ALPHA
    assert abs(np.corrcoef(moved.T)[0, 1]) < 0.08


def test_a_person_keeps_its_offset_and_has_another_one_in_another_process(pipeline, monkeypatch):
    first = offsets(pipeline, 50)
    np.testing.assert_array_equal(offsets(pipeline, 50), first)
    monkeypatch.setattr(pose_transforms, "get_rank", lambda: 1)
    assert (offsets(pipeline, 50) != first).any()


# -------------------------------------------------------------------------------- scale, rotation


@pytest.fixture(scope="module")
def draws(pipeline):
    """Scales and angles of many transforms."""
    np.random.seed(0)
    transform = pipeline["mmengine.RandomBoxScaleRotation"]
    samples = [transform({"bbox_scale": np.array([[40.0, 100.0]])}) for _ in range(8000)]
    scales = np.array([sample["bbox_scale"][0] for sample in samples]) / (40, 100)
    angles = np.array([sample["bbox_rotation"] for sample in samples])
    assert angles.shape == (8000, 1)
    np.testing.assert_allclose(scales[:, 0], scales[:, 1])
    return scales[:, 0], angles[:, 0]


def test_scales_are_normal_around_1_and_held_at_their_limits(draws):
    scales, _ = draws
    assert (scales.min(), scales.max()) == pytest.approx((0.5, 1.5))
    for limit in (0.5, 1.5):
        at_limit = int(np.isclose(scales, limit).sum())
        assert stats.binomtest(at_limit, len(scales), stats.norm.cdf(-1)).pvalue > ALPHA
    between = scales[(scales > 0.5001) & (scales < 1.4999)]
    assert stats.kstest(between, stats.truncnorm(-1, 1, loc=1, scale=0.5).cdf).pvalue > ALPHA


def test_six_of_ten_angles_are_normal_and_held_at_their_limits(draws):
    _, angles = draws
    turned = angles[angles != 0]
    assert stats.binomtest(len(turned), len(angles), 0.6).pvalue > ALPHA
    assert (turned.min(), turned.max()) == (-80, 80)
    at_limit = int((np.abs(turned) == 80).sum())
    assert stats.binomtest(at_limit, len(turned), 2 * stats.norm.cdf(-2)).pvalue > ALPHA
    between = turned[np.abs(turned) < 80]
    assert stats.kstest(between, stats.truncnorm(-2, 2, scale=40).cdf).pvalue > ALPHA


def test_scale_and_angle_are_independent(draws):
    assert abs(np.corrcoef(*draws)[0, 1]) < 0.04


# --------------------------------------------------------------------------------------- half body


def half_body(pipeline, visible, count=600):
    """How often a crop becomes that of the upper or the lower body, or stays."""
    sample = {
        "keypoints": np.arange(34, dtype=np.float32).reshape(1, 17, 2),
        "keypoints_visible": np.array([visible], dtype=np.float32),
        "upper_body_ids": list(range(11)),
        "lower_body_ids": list(range(11, 17)),
    }
    upper_ids = [joint for joint in range(11) if visible[joint]]
    lower_ids = [joint for joint in range(11, 17) if visible[joint]]
    transform = pipeline["RandomHalfBody"]
    counts: Counter[str] = Counter()
    for _ in range(count):
        chosen = transform._random_select_half_body(
            sample["keypoints_visible"], sample["upper_body_ids"], sample["lower_body_ids"]
        )[0]
        counts["none" if chosen is None else "upper" if chosen == upper_ids else "lower"] += 1
        assert chosen in (None, upper_ids, lower_ids)
    return counts


@pytest.mark.parametrize(
    ("upper", "lower", "upper_share"),
    [(11, 6, stats.norm.cdf(0.5)), (3, 6, stats.norm.cdf(0.5)), (11, 2, 1.0), (9, 0, 1.0)],
)
def test_half_bodies_are_chosen_as_published(pipeline, upper, lower, upper_share):
    """More than 8 joints; 3 of 10; upper if a normal number is below 0.5, or too few lower ones."""
    np.random.seed(0)
    visible = [1] * upper + [0] * (11 - upper) + [1] * lower + [0] * (6 - lower)
    counts = half_body(pipeline, visible)
    changed = counts["upper"] + counts["lower"]
    assert stats.binomtest(changed, counts.total(), 0.3).pvalue > ALPHA
    assert stats.binomtest(counts["upper"], changed, upper_share).pvalue > ALPHA


def test_persons_with_8_joints_stay_whole(pipeline):
    assert half_body(pipeline, [1] * 8 + [0] * 9) == {"none": 600}


def test_a_half_body_is_centred_on_the_mean_of_its_joints_and_padded_by_half(pipeline):
    joints = np.array([(0, 0), (10, 0), (20, 60)], dtype=np.float32)
    centre, scale = pipeline["RandomHalfBody"]._get_half_body_bbox(joints, [0, 1, 2])
    np.testing.assert_allclose(centre, (10, 20))
    np.testing.assert_allclose(scale, (30, 90))


# -------------------------------------------------------------------------------------------- crop


@pytest.mark.parametrize("size", [(40.0, 100.0), (90.0, 60.0), (75.0, 100.0)])
@pytest.mark.parametrize("angle", [0.0, 33.0, -80.0])
def test_the_crop_is_that_of_mmpose_0(pipeline, size, angle):
    """A box with padding 1.25, widened to the aspect ratio, turned around its centre."""
    sample = pipeline["GetBBoxCenterScale"](person(size=np.array(size)))
    sample["bbox_rotation"] = np.array([angle])
    centre = np.array((30.0, 50.0)) + np.array(size) / 2
    points = np.random.default_rng(0).uniform(0, 150, (1, 17, 2)).astype(np.float32)
    sample["keypoints"] = points
    sample = pipeline["TopdownAffine"](sample)
    padded = 1.25 * max(size[0], size[1] * 192 / 256)
    turn = math.radians(angle)
    x, y = ((points[0] - centre) * 192 / padded).T
    expected = (
        96 + x * math.cos(turn) + y * math.sin(turn),
        128 - x * math.sin(turn) + y * math.cos(turn),
    )
    np.testing.assert_allclose(sample["transformed_keypoints"][0].T, expected, atol=2e-3)
    assert sample["img"].shape == (256, 192, 3)
