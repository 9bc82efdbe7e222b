"""Hooks record one forward pass, and leave nothing behind."""

import pytest
import torch
from torch import nn

from uniformer_mm.analysis.feature_recorder import FeatureRecorder, choose_blocks, find_backbone
from uniformer_mm.errors import UserError
from uniformer_mm.models import UniFormer, UniFormerLight

SMALL = {"depths": (2, 1, 4, 3), "embed_dims": (16, 16, 32, 32), "head_dim": 16}


@pytest.mark.parametrize("kind", [UniFormer, UniFormerLight])
def test_the_forward_pass_does_not_change(kind):
    backbone = kind(SMALL).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = backbone(images)
        with FeatureRecorder(
            backbone, choose_blocks(backbone, ["all"], range(1, 5)), 1
        ) as recorder:
            for output, before in zip(backbone(images), expected, strict=True):
                assert torch.equal(output, before)
            backbone(images.flip(-1))  # a second pass is not recorded
    assert torch.equal(recorder.input, images[1])
    last = recorder.records[-1]
    norm = backbone.norm4(last.features).movedim(-1, 0)
    torch.testing.assert_close(norm, expected[3][1])
    assert (last.stage, last.grid) == (4, (2, 2))
    assert not any(module._forward_hooks for module in backbone.modules())
    assert not any(module._forward_pre_hooks for module in backbone.modules())
    recorder.clear()
    assert recorder.input is None
    assert recorder.records[-1].features is None


def test_blocks_are_the_first_and_the_last_unless_named():
    backbone = UniFormer(SMALL, out_indices=(0, 1, 2))
    assert choose_blocks(backbone, None, (1, 2, 3, 4)) == ["1.1", "1.2", "2.1", "3.1", "3.4"]
    assert choose_blocks(backbone, ["3.2", "1.1"], (1, 3)) == ["3.2", "1.1"]
    assert choose_blocks(backbone, ["all"], (1, 2)) == ["1.1", "1.2", "2.1"]
    for name, stages in (("3.5", (3, 4)), ("4.1", (3, 4)), ("1.1", (3, 4)), ("x", (3,))):
        with pytest.raises(UserError, match=rf"{name}: .*3\.1 to 3\.4"):
            choose_blocks(backbone, [name], stages)


def test_other_models_are_refused():
    backbone = UniFormer(SMALL)
    assert find_backbone(nn.Sequential(nn.Identity(), backbone)) is backbone
    with pytest.raises(UserError, match="Sequential"):
        find_backbone(nn.Sequential(nn.Linear(1, 1)))
