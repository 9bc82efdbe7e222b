"""The names of other code, one by one; whole files are tried in test_load_everything."""

import pytest
import torch

from uniformer_mm.checkpoints.names import to_model_names, to_official_names

BACKBONE = ["blocks1.0.conv1.weight", "norm.weight"]
CLASSIFIER = [f"backbone.{name}" for name in BACKBONE] + ["head.fc.weight", "head.aux_fc.bias"]
LIGHT = [*CLASSIFIER[:2], "head.fc.weight", "head.class_token_fc.weight"]
RECOGNIZER = [*CLASSIFIER[:2], "cls_head.fc_cls.weight", "cls_head.class_token_fc.bias"]
POSE = ["backbone.norm4.weight", "head.final_layer.weight"]
DETECTOR = ["backbone.norm4.weight", "roi_head.bbox_head.fc_cls.weight"]


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize(
    ("model", "theirs", "ours"),
    [
        (BACKBONE, "blocks1.0.conv1.weight", "blocks1.0.conv1.weight"),
        (CLASSIFIER, "blocks1.0.conv1.weight", "backbone.blocks1.0.conv1.weight"),
        (CLASSIFIER, "head.weight", "head.fc.weight"),
        (CLASSIFIER, "aux_head.bias", "head.aux_fc.bias"),
        (LIGHT, "head_cls.weight", "head.class_token_fc.weight"),
        (RECOGNIZER, "head.weight", "cls_head.fc_cls.weight"),
        (RECOGNIZER, "head_cls.bias", "cls_head.class_token_fc.bias"),
        (DETECTOR, "head.weight", "head.weight"),
    ],
)
def test_bare_official_names(model, theirs, ours, prefix):
    assert list(to_model_names({prefix + theirs: torch.ones(1)}, model)) == [ours]


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize(
    ("model", "theirs", "ours"),
    [
        (POSE, "keypoint_head.final_layer.weight", "head.final_layer.weight"),
        (POSE, "head.final_layer.weight", "head.final_layer.weight"),
        (DETECTOR, "roi_head.bbox_head.fc_cls.weight", "roi_head.bbox_head.fc_cls.weight"),
        (["backbone.a", "keypoint_head.b"], "keypoint_head.b", "keypoint_head.b"),
    ],
)
def test_names_of_whole_models_of_mm_1(model, theirs, ours, prefix):
    state = {f"{prefix}backbone.norm4.weight": torch.ones(1), prefix + theirs: torch.ones(1)}
    assert list(to_model_names(state, model)) == ["backbone.norm4.weight", ours]


def test_a_backbone_alone_gets_its_part_of_a_whole_model():
    state = {"module.backbone.norm4.weight": torch.ones(1), "module.neck.weight": torch.ones(2)}
    assert list(to_model_names(state, ["norm4.weight"])) == ["norm4.weight"]


@pytest.mark.parametrize(
    ("scope", "model", "official"),
    [
        ("mmpretrain", CLASSIFIER, [*BACKBONE, "head.weight", "aux_head.bias"]),
        ("mmpretrain", LIGHT, [*BACKBONE, "head.weight", "head_cls.weight"]),
        ("mmaction", RECOGNIZER, [*BACKBONE, "head.weight", "head_cls.bias"]),
        ("mmpose", POSE, ["backbone.norm4.weight", "keypoint_head.final_layer.weight"]),
        ("mmdet", DETECTOR, DETECTOR),
        ("mmseg", DETECTOR, DETECTOR),
    ],
)
def test_official_names_and_back(scope, model, official):
    state = dict.fromkeys(model, torch.ones(1))
    assert list(to_official_names(state, scope)) == official
    assert list(to_model_names(to_official_names(state, scope), model)) == model
