"""The attention modes, windows and the fused kernel."""

import pytest
import torch

from uniformer_mm.models import UniFormer
from uniformer_mm.models.archs import window_sizes
from uniformer_mm.models.uniformer import Attention


def test_hybrid_is_global_in_every_fourth_block():
    assert window_sizes("hybrid", 14, 9) == (14, 14, 14, 0, 14, 14, 14, 0, 14)
    assert window_sizes("window", 7, 3) == (7, 7, 7)
    assert window_sizes("global", 7, 3) == (0, 0, 0)


def test_stage_4_is_global_in_every_mode():
    for attention in ("global", "window", "hybrid"):
        model = UniFormer("small", attention=attention)
        assert [block.window_size for block in model.blocks4] == [0, 0, 0]


@pytest.mark.parametrize(("attention", "window_size"), [("local", 14), ("window", 0)])
def test_bad_mode_or_size_is_named(attention, window_size):
    with pytest.raises(ValueError, match=r"attention must be one of|window_size must be"):
        window_sizes(attention, window_size, 8)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(14, 28), (27, 28), (15, 20), (3, 5)])
def test_windows_attend_inside_themselves_with_zero_padding(size, bias):
    """Against a loop over windows that pads each one on its own."""
    torch.manual_seed(0)
    attention = Attention(32, 16, qkv_bias=bias).eval()
    windowed = Attention(32, 16, qkv_bias=bias, window_size=14).eval()
    if bias:
        torch.nn.init.normal_(attention.qkv.bias)
    windowed.load_state_dict(attention.state_dict())
    x = torch.randn(2, *size, 32)
    expected = torch.empty_like(x)
    for top in range(0, size[0], 14):
        for left in range(0, size[1], 14):
            part = x[:, top : top + 14, left : left + 14]
            window = torch.zeros(2, 14, 14, 32)
            window[:, : part.shape[1], : part.shape[2]] = part
            out = attention(window.flatten(1, 2)).view(2, 14, 14, 32)
            expected[:, top : top + 14, left : left + 14] = out[:, : part.shape[1], : part.shape[2]]
    torch.testing.assert_close(windowed(x), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fused_attention_equals_plain_softmax(dtype):
    torch.manual_seed(0)
    attention = Attention(128, 32).to(dtype)
    x = torch.randn(3, 77, 128, dtype=dtype, requires_grad=True)
    fused = attention(x)
    (fused_gradient,) = torch.autograd.grad(fused.square().sum(), x)
    attention.fused = False
    plain = attention(x)
    (plain_gradient,) = torch.autograd.grad(plain.square().sum(), x)
    assert (fused - plain).abs().max() <= 1e-5
    assert (fused_gradient - plain_gradient).abs().max() <= 1e-5


def test_attention_dropout_acts_in_training_only():
    torch.manual_seed(0)
    attention = Attention(32, 16, attn_drop=0.5)
    x = torch.randn(1, 9, 32)
    assert not torch.equal(attention(x), attention(x))
    attention.eval()
    assert torch.equal(attention(x), attention(x))
