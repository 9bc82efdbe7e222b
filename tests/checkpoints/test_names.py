"""State-dict keys of other code, one by one; whole files are loaded in test_load_everything."""

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
def test_official_names_and_back(scope, model, official, prefix):
    assert list(to_official_names(dict.fromkeys(model, torch.ones(1)), scope)) == official
    state = {prefix + name: torch.ones(1) for name in official}
    assert list(to_model_names(state, model)) == model


@pytest.mark.parametrize(
    ("model", "theirs", "ours"),
    [
        (BACKBONE, BACKBONE, BACKBONE),
        (BACKBONE, ["module.backbone.norm.weight", "module.neck.weight"], ["norm.weight"]),
        (DETECTOR, ["norm4.weight", "head.weight"], ["backbone.norm4.weight", "head.weight"]),
        (POSE, POSE, POSE),
        (["backbone.a", "keypoint_head.b"], *[["backbone.a", "keypoint_head.b"]] * 2),
    ],
)
def test_other_names(model, theirs, ours):
    assert list(to_model_names(dict.fromkeys(theirs, torch.ones(1)), model)) == ours
