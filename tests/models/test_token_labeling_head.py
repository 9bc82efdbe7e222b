"""Classifiers of the configs give the official scores; token labelling trains as published."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from parity import CASES, assert_matches
from torch import nn
from torch.testing import assert_close

from uniformer_mm.doctor.parity import input_for, tensor_for

pytestmark = pytest.mark.stack

pytest.importorskip("mmpretrain")
CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "cls"

OFFICIAL = {
    "uniformer_s_in1k": "cls_small_224",
    "uniformer_s_plus_dim64_in1k": "cls_small_plus_dim64_224",
    "uniformer_b_ls_in1k": "cls_base_ls_224",
    "uniformer_s_tl_224_in1k": "tl_small_224",
    "uniformer_l_ls_tl_224_in1k": "tl_large_ls_224",
}


def build(name):
    from mmpretrain.registry import MODELS

    init_default_scope("mmpretrain")
    return MODELS.build(Config.fromfile(CONFIGS / f"{name}.py").model)


def official_name(name):
    """What a tensor of mmpretrain's classifier is called in the official checkpoints."""
    for ours, theirs in (("backbone.", ""), ("head.fc.", "head."), ("head.aux_fc.", "aux_head.")):
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    raise AssertionError(name)


@pytest.mark.parametrize(("config", "case"), OFFICIAL.items())
def test_scores_are_official(config, case):
    case = next(entry for entry in CASES if entry["id"] == case)
    model = build(config).eval()
    state = model.state_dict()
    model.load_state_dict({k: tensor_for(official_name(k), tuple(state[k].shape)) for k in state})
    with torch.no_grad():
        scores = model(input_for(case))
    assert_matches(scores, case["outputs"][0])


def make_head(classes=5, channels=8):
    from mmpretrain.registry import MODELS

    import uniformer_mm.models.heads.token_labeling_head  # noqa: F401 (registers the head)

    loss = {"type": "LabelSmoothLoss", "label_smooth_val": 0.1, "mode": "original"}
    torch.manual_seed(0)
    return MODELS.build(
        {
            "type": "mmpretrain.TokenLabelingHead",
            "num_classes": classes,
            "in_channels": channels,
            "loss": loss,
        }
    )


def samples(labels, box=None):
    from mmpretrain.structures import DataSample

    metainfo = {} if box is None else {"mixed_tokens": box}
    return [DataSample(metainfo=metainfo).set_gt_label(label) for label in labels]


def cross_entropy(scores, targets):
    return nn.functional.cross_entropy(scores, targets, label_smoothing=0.1)


def test_without_mixing_every_token_has_the_label_of_its_image():
    head, features, labels = make_head(), torch.randn(2, 8, 3, 4), torch.tensor([1, 4])
    losses = head.loss((features,), samples(labels))
    tokens = features.flatten(2).transpose(1, 2)
    scores = head.aux_fc(tokens).flatten(0, 1)
    assert_close(losses["loss_image"], cross_entropy(head.fc(tokens.mean(1)), labels))
    assert_close(losses["loss_tokens"], cross_entropy(scores, labels.repeat_interleave(12)))


def test_scores_of_mixed_tokens_go_back_to_the_image_they_come_from():
    """The official code exchanges the tokens' scores, and mixes image labels by the box's area."""
    head, features, labels = make_head(), torch.randn(4, 8, 3, 4), torch.tensor([0, 1, 2, 3])
    losses = head.loss((features,), samples(labels, box=(1, 3, 0, 2)))
    tokens = features.movedim(1, -1)
    scores = head.aux_fc(tokens)
    restored = scores.clone()
    restored[:, 1:3, 0:2] = scores.flip(0)[:, 1:3, 0:2]
    expected = cross_entropy(restored.flatten(0, 2), labels.repeat_interleave(12))
    assert_close(losses["loss_tokens"], expected)
    share = 4 / 12
    image = head.fc(tokens.mean((1, 2)))
    expected = (1 - share) * cross_entropy(image, labels)
    assert_close(losses["loss_image"], expected + share * cross_entropy(image, labels.flip(0)))


def test_labels_mixed_by_other_augmentation_are_kept():
    head, features = make_head(), torch.randn(1, 8, 2, 2)
    (sample,) = samples([1])
    sample.set_gt_score(torch.tensor([0.0, 0.5, 0.5, 0.0, 0.0]))
    loss = head.loss((features,), [sample])["loss_image"]
    scores = head.fc(features.mean((2, 3)))
    assert_close(loss, sum(cross_entropy(scores, torch.tensor([k])) for k in (1, 2)) / 2)


def test_initial_weights_are_those_of_the_authors():
    head = make_head(classes=200, channels=100)
    head.init_weights()
    for layer in (head.fc, head.aux_fc):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not layer.bias.any()


def mix(monkeypatch, images, area, row, column, training=True):
    """The preprocessor's batch, with a box of a given share of the area around a given token."""
    from uniformer_mm.models.data_preprocessors.mix_token import MixTokenDataPreprocessor

    monkeypatch.setattr(np.random, "beta", lambda a, b: 1 - area)
    places = iter((row, column))
    monkeypatch.setattr(np.random, "randint", lambda high: next(places))
    data = {"inputs": images.clone(), "data_samples": samples(range(len(images)))}
    return MixTokenDataPreprocessor()(data, training)


def test_mixed_images_have_a_box_of_the_mirrored_one(monkeypatch):
    images = torch.randn(3, 3, 64, 96)
    data = mix(monkeypatch, images, area=0.25, row=8, column=2)
    inside = torch.zeros(64, 96, dtype=torch.bool)
    inside[16:48, 0:32] = True  # of 16 x 24 first tokens: rows 4 to 11, columns -4 to 7
    expected = torch.where(inside, images.flip(0), images)
    assert torch.equal(data["inputs"], expected)
    assert {sample.mixed_tokens for sample in data["data_samples"]} == {(0, 1, 0, 1)}


def test_testing_mixes_nothing(monkeypatch):
    images = torch.randn(2, 3, 64, 64)
    data = mix(monkeypatch, images, area=0.25, row=8, column=8, training=False)
    assert torch.equal(data["inputs"], images)
    assert "mixed_tokens" not in data["data_samples"][0]


def test_mixing_pixels_is_mixing_the_tokens_of_the_stem(monkeypatch):
    from uniformer_mm import UniFormer

    stem = UniFormer("small").patch_embed1.eval()
    images = torch.randn(2, 3, 64, 64)
    mixed = mix(monkeypatch, images, area=0.25, row=8, column=8)["inputs"]
    with torch.no_grad():
        whole = stem(images.movedim(1, -1))
        expected = whole.clone()
        expected[:, 4:12, 4:12] = whole.flip(0)[:, 4:12, 4:12]
        assert_close(stem(mixed.movedim(1, -1)), expected)


def test_boxes_have_a_uniform_area_and_lie_inside():
    from uniformer_mm.models.data_preprocessors.mix_token import random_box

    np.random.seed(0)
    boxes = [random_box(56, 40) for _ in range(2000)]
    rows, columns = (np.array(bounds) for bounds in zip(*boxes, strict=True))
    assert rows.min() == columns.min() == 0
    assert (rows.max(), columns.max()) == (56, 40)
    uncut = (rows[:, 0] > 0) & (rows[:, 1] < 56) & (columns[:, 0] > 0) & (columns[:, 1] < 40)
    areas = np.prod(np.diff(rows), axis=1) * np.prod(np.diff(columns), axis=1) / (56 * 40)
    assert 0.02 < np.median(areas[uncut]) < 0.2  # large ones reach the border
    assert 0.2 < areas.mean() < 0.4
