"""The heatmap head with a choice of norm is mmpose's, norm aside."""

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpose.models.heads import HeatmapHead
from mmpose.registry import MODELS
from torch import nn

import uniformer_mm.models.heads.heatmap_head  # noqa: F401
from uniformer_mm.apis.config import replace_sync_batch_norm

SIZES = {"in_channels": 512, "out_channels": 17}


@pytest.fixture(autouse=True)
def scope():
    init_default_scope("mmpose")


def build(norm):
    config = {"type": "DeconvNormHeatmapHead", "norm_cfg": {"type": norm}, **SIZES}
    head = MODELS.build(config)
    head.init_weights()
    return head


@pytest.mark.parametrize(
    ("norm", "kind"), [("SyncBN", nn.SyncBatchNorm), ("BN", nn.BatchNorm2d), ("GN", nn.GroupNorm)]
)
def test_the_norm_follows_every_deconvolution(norm, kind):
    config = {"type": "GN", "num_groups": 32} if norm == "GN" else {"type": norm}
    head = MODELS.build({"type": "DeconvNormHeatmapHead", "norm_cfg": config, **SIZES})
    kinds = [nn.ConvTranspose2d, kind, nn.ReLU] * 3
    assert len(head.deconv_layers) == len(kinds)
    assert all(map(isinstance, head.deconv_layers, kinds))


@pytest.mark.parametrize("norm", ["SyncBN", "BN"])
def test_checkpoints_are_those_of_mmpose_s_head_in_both_directions(norm):
    torch.manual_seed(0)
    ours, theirs = build(norm).eval(), HeatmapHead(**SIZES).eval()
    features = (torch.randn(2, 512, 4, 3),)
    for parameter in (*theirs.parameters(), *ours.parameters()):
        nn.init.normal_(parameter, std=0.05)
    for target, source in ((ours, theirs), (theirs, ours)):
        nn.init.normal_(source.deconv_layers[0].weight, std=0.05)
        assert target.load_state_dict(source.state_dict(), strict=True)
        torch.testing.assert_close(target(features), source(features))
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_weights_start_as_in_mmpose_s_head():
    torch.manual_seed(0)
    head = build("SyncBN")
    for index in (0, 3, 6):
        assert head.deconv_layers[index].weight.std().item() == pytest.approx(0.001, rel=0.02)
        norm = head.deconv_layers[index + 1]
        assert (norm.weight == 1).all()
        assert (norm.bias == 0).all()
    assert head.final_layer.weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert (head.final_layer.bias == 0).all()


def test_machines_without_a_gpu_get_plain_batch_norm():
    config = {"type": "DeconvNormHeatmapHead", "norm_cfg": {"type": "SyncBN"}, **SIZES}
    replace_sync_batch_norm(config)
    head = MODELS.build(config)
    assert [type(head.deconv_layers[i]) for i in (1, 4, 7)] == [nn.BatchNorm2d] * 3
