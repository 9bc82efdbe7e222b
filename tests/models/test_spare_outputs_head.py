"""Outputs that no class has are trained, smoothed and loaded, but not predicted."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch.nn import functional as F

pytest.importorskip("mmaction")

from mmaction.structures import ActionDataSample

from uniformer_mm.apis.inference import Inferencer

HMDB51 = Path(__file__).resolve().parents[2] / "configs" / "video" / "uniformer_s_16x4_hmdb51.py"


@pytest.fixture(scope="module")
def cfg():
    init_default_scope("mmaction")
    cfg = Config.fromfile(HMDB51)
    cfg.model.backbone.update(arch={"depths": (1, 1, 1, 1)}, init_cfg=None)
    return cfg


@pytest.fixture(autouse=True)
def scope():
    init_default_scope("mmaction")


@pytest.fixture
def features():
    torch.manual_seed(0)
    return torch.randn(2, 512, 1, 1, 1)


@pytest.mark.parametrize("soft", [False, True])
def test_the_loss_is_the_authors(cfg, features, soft):
    """Cross-entropy of 101 outputs whose labels are smoothed by 0.1."""
    head = MODELS.build(cfg.model.cls_head)
    labels = torch.tensor([3, 50])
    shares = 0.7 * F.one_hot(labels, 51) + 0.3 * F.one_hot(labels.flip(0), 51)
    given = shares if soft else labels[:, None]
    samples = [ActionDataSample().set_gt_label(label) for label in given]
    loss = head.loss(features, samples)["loss_cls"]
    target = F.pad(shares, (0, 50)) if soft else F.one_hot(labels, 101).float()
    scores = head.fc_cls(features.flatten(1))
    assert scores.shape == (2, 101)
    torch.testing.assert_close(loss, F.cross_entropy(scores, 0.9 * target + 0.1 / 101))


def test_only_classes_are_predicted(cfg, features):
    head = MODELS.build(cfg.model.cls_head)
    with torch.no_grad():
        head.fc_cls.bias[77] = 1e6
    samples = head.predict(features, [ActionDataSample(), ActionDataSample()])
    for sample, row in zip(samples, head.fc_cls(features.flatten(1)), strict=True):
        torch.testing.assert_close(sample.pred_score, row[:51])
        assert sample.pred_label == row[:51].argmax()


def test_the_authors_file_is_loaded_and_its_classes_are_named(cfg, tmp_path):
    """SlowFast's layout, with a classifier of 101 rows."""
    torch.manual_seed(0)
    state = MODELS.build(cfg.model).state_dict()
    official = {
        name.removeprefix("backbone.").replace("cls_head.fc_cls.", "head."): value
        for name, value in state.items()
    }
    assert official["head.weight"].shape == (101, 512)
    path = tmp_path / "uniformer_small_hmdb51_16x4_prek400_split1.pth"
    torch.save({"model_state": official}, path)
    inferencer = Inferencer(cfg, path, device="cpu")
    weights = inferencer.model.cls_head.fc_cls.weight
    torch.testing.assert_close(weights, official["head.weight"])
    assert len(inferencer.meta["classes"]) == 51
