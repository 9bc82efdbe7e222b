"""Depthwise and pointwise convolutions give what PyTorch's give, however they run."""

import pytest
import torch
from torch import nn

from uniformer_mm.models import UniFormer
from uniformer_mm.models.fuse import fuse
from uniformer_mm.models.layers import depthwise, pointwise
from uniformer_mm.models.layers.depthwise import DEPTHWISE, HAS_KERNELS, Depthwise, use_kernels
from uniformer_mm.models.layers.pointwise import POINTWISE

CONVS = {2: nn.Conv2d, 3: nn.Conv3d}
MEMORY = {2: torch.channels_last, 3: torch.channels_last_3d}


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    for module in (depthwise, pointwise):
        monkeypatch.setattr(module, "runs_on_gpu", lambda x: True)


def like(conv, dims):
    plain = CONVS[dims](
        8, conv.out_channels, conv.kernel_size, padding=conv.padding, groups=conv.groups
    )
    plain.load_state_dict(conv.state_dict())
    return plain


def channels_last(dims):
    return torch.randn(2, 8, *(4, 6, 5)[3 - dims :]).contiguous(memory_format=MEMORY[dims])


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("dims", [2, 3])
def test_matrix_products_equal_pointwise_convolutions(dims, monkeypatch):
    conv, x = POINTWISE[dims](8, 12, 1), channels_last(dims)
    expected = like(conv, dims)(x)
    monkeypatch.setattr(CONVS[dims], "forward", None)
    out = conv(x)
    assert out.is_contiguous(memory_format=MEMORY[dims])
    torch.testing.assert_close(out, expected)


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("dims", [2, 3])
def test_depthwise_convolutions_keep_the_layout(dims):
    conv, x = DEPTHWISE[dims](8, 5), channels_last(dims).requires_grad_()
    conv.kernels = False
    out, expected = conv(x), like(conv, dims)(x)
    assert out.is_contiguous(memory_format=MEMORY[dims])
    torch.testing.assert_close(out, expected)
    grads = (torch.autograd.grad(y.square().sum(), x) for y in (out, expected))
    torch.testing.assert_close(*grads)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_kernels_run_by_default_where_they_are_faster():
    if not HAS_KERNELS:
        pytest.skip("the kernels need Triton and torch 2.7")

    def default(dims):
        return DEPTHWISE[dims](8, 3).runs_kernels(channels_last(dims))

    assert default(3)
    assert not default(2)
    with torch.no_grad():
        assert default(2)


@pytest.mark.parametrize("dims", [2, 3])
def test_channels_last_maps_are_convolved_without_a_copy(dims):
    conv, x = DEPTHWISE[dims](8, 3, channels_last=True), channels_last(dims)
    out = conv(x.movedim(1, -1))
    assert out.is_contiguous()
    torch.testing.assert_close(out.movedim(-1, 1), like(conv, dims)(x))


@pytest.mark.parametrize("dims", [2, 3])
def test_the_option_reaches_every_depthwise_convolution(dims):
    arch = {"depths": (1, 1, 1, 1), "embed_dims": (8, 8, 8, 8), "head_dim": 8}
    for on in (False, True):
        model = UniFormer(arch, dims=dims, kernels=on).eval()
        for variant in (model, fuse(model)):
            convs = [m for m in variant.modules() if isinstance(m, Depthwise)]
            assert len(convs) == 6
            assert all(conv.kernels is on for conv in convs)


def test_without_triton_a_warning_says_what_runs(monkeypatch):
    monkeypatch.setattr(depthwise, "HAS_KERNELS", False)
    with pytest.warns(UserWarning, match="need Triton"):
        use_kernels(nn.Sequential(), True)


@pytest.mark.parametrize("span", [3, 5])
@pytest.mark.parametrize("frozen", [(), ("weight",), ("weight", "bias")])
def test_gradients_of_videos_are_those_of_pytorch(span, frozen):
    conv = DEPTHWISE[3](8, span).double()
    plain = like(conv, 3).double()
    x = channels_last(3).double().requires_grad_()
    gradients = []
    for module in (conv, plain):
        for name in frozen:
            getattr(module, name).requires_grad_(False)
        leaves = [x, *(weight for weight in module.parameters() if weight.requires_grad)]
        firsts = torch.autograd.grad(module(x).square().sum(), leaves, create_graph=True)
        seconds = torch.autograd.grad(sum(first.square().sum() for first in firsts), leaves)
        gradients.append((*firsts, *seconds))
    torch.testing.assert_close(*gradients)
