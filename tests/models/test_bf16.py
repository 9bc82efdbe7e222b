"""A model in bfloat16 computes what the model computes, up to 2 % of a standard deviation."""

import copy

import pytest
import torch
from test_fuse import MODELS, build, flat
from torch import nn

from uniformer_mm.models import UniFormer
from uniformer_mm.models.bf16 import to_bf16
from uniformer_mm.models.layers.chunked_attention import attend_in_chunks


def error(ours, expected):
    """Root mean square of the differences, in standard deviations."""
    return float((ours - expected).square().mean().sqrt() / expected.std())


@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_close_and_in_fp32(name):
    model, x = build(name)
    with torch.no_grad():
        expected = flat(model(x))
        half = to_bf16(model)
        ours = flat(half(x))
        with torch.autocast("cpu", torch.bfloat16):
            autocast = flat(half(x))
        copied = flat(copy.deepcopy(half)(x))
    for a, b, c, d in zip(ours, expected, autocast, copied, strict=True):
        assert a.dtype == torch.float32
        assert 0 < error(a, b) < 0.02
        assert torch.equal(a, c)
        assert torch.equal(a, d)


def test_the_model_stays_and_weights_are_cast_once():
    model, _ = build("plus")
    half = to_bf16(model)
    assert isinstance(half, UniFormer)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert {weight.dtype for weight in half.parameters()} == {torch.bfloat16, torch.float32}
    in_fp32 = {name for name, weight in half.named_parameters() if weight.dtype == torch.float32}
    assert in_fp32 == {"norm.weight", "norm.bias"}  # the BatchNorm that is not folded
    with pytest.raises(ValueError, match="fused already"):
        to_bf16(half)


class Coordinates(nn.Module):
    """A head with a parameter that is not of a plain layer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(32, 4, 1)
        self.points = nn.Parameter(torch.zeros(4))

    def forward(self, x):
        return self.conv(x)


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(64, 32, 1), nn.BatchNorm2d(32)

    def forward(self, features):
        assert features[0].dtype == torch.bfloat16
        return (self.norm(self.conv(features[0])),)


def test_plain_heads_are_cast_and_others_are_not():
    model = nn.Module()
    arch = {"depths": (1, 1, 1, 1), "embed_dims": (16, 32, 64, 64), "head_dim": 32}
    model.backbone = UniFormer(arch, out_indices=(2,))
    model.neck, model.rpn_head = Plain(), Coordinates()
    half = to_bf16(model)
    assert half.neck.conv.weight.dtype == torch.bfloat16
    assert half.neck.norm.weight.dtype == torch.float32
    assert half.rpn_head.conv.weight.dtype == torch.float32
    with torch.no_grad():
        features = half.neck(half.backbone(torch.randn(1, 3, 64, 64)))
        assert features[0].dtype == torch.float32
        assert half.rpn_head(features[0]).shape == (1, 4, 4, 4)


@pytest.mark.parametrize("scores", [1, 1000, 2**23])
def test_attention_in_chunks_is_attention(scores, monkeypatch):
    monkeypatch.setattr("uniformer_mm.models.layers.chunked_attention.SCORES", scores)
    parts = torch.randn(3, 2, 4, 50, 16, dtype=torch.float64)
    expected = nn.functional.scaled_dot_product_attention(*parts)
    torch.testing.assert_close(attend_in_chunks(*parts), expected)
