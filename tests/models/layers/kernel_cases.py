"""Triton kernels for GPUs; without one, Triton's interpreter runs them (test_kernels.py)."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from uniformer_mm.models import UniFormer
from uniformer_mm.models.fuse import FusedLocalBlock, fuse
from uniformer_mm.models.layers import depthwise as convolutions
from uniformer_mm.models.layers import fused_op
from uniformer_mm.models.layers.depthwise import (
    Depthwise2d,
    Depthwise3d,
)
from uniformer_mm.models.layers.depthwise_op import depthwise
from uniformer_mm.models.layers.fused import FusedLayerNorm

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"

CASES = [
    pytest.param(Depthwise2d, 5, (2, 20, 9, 11), id="odd-sizes"),
    pytest.param(Depthwise2d, 5, (1, 40, 3, 17), id="lower-than-the-kernel"),
    pytest.param(Depthwise2d, 3, (2, 72, 6, 7), id="several-blocks-of-channels"),
    pytest.param(Depthwise3d, 5, (1, 8, 4, 6, 5), id="video"),
    pytest.param(Depthwise3d, 3, (2, 16, 3, 5, 9), id="video-small-kernel"),
]


@pytest.fixture(autouse=True)
def anywhere(monkeypatch):
    """Let the kernels run on this machine."""
    monkeypatch.setattr(convolutions.Depthwise, "kernels", True)
    if not CUDA:
        monkeypatch.setattr(convolutions, "runs_on_gpu", lambda x: True)
        monkeypatch.setattr(fused_op, "runs_on_gpu", lambda x: True)


def conv_and_input(kind, span, shape):
    torch.manual_seed(0)
    channels = shape[1]
    conv = kind(channels, span).to(DEVICE)
    return conv, torch.randn(shape, device=DEVICE)


def plain(conv, x):
    """PyTorch's convolution in double precision."""
    function = F.conv2d if x.dim() == 4 else F.conv3d
    padding = conv.weight.shape[-1] // 2
    return function(x, conv.weight.double(), conv.bias.double(), padding=padding, groups=x.shape[1])


@pytest.mark.parametrize(("kind", "span", "shape"), CASES)
def test_outputs_and_gradients_are_those_of_the_plain_convolution(kind, span, shape):
    conv, x = conv_and_input(kind, span, shape)
    expected_input = x.double().requires_grad_()
    expected = plain(conv, expected_input)
    grad = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (expected_input, conv.weight, conv.bias), grad)

    x.requires_grad_()
    out = conv(x)
    got = torch.autograd.grad(out, (x, conv.weight, conv.bias), grad.float())

    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(got, wanted, strict=True):
        scale = float(theirs.abs().max())
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=1e-5, atol=2e-6 * scale)


def test_the_kernels_are_what_runs(monkeypatch):
    conv, x = conv_and_input(Depthwise2d, 5, (1, 8, 6, 6))
    monkeypatch.setattr(nn.Conv2d, "forward", None)
    assert conv(x).shape == x.shape


def test_a_map_that_is_not_channels_last_gives_the_same():
    conv, x = conv_and_input(Depthwise2d, 5, (2, 24, 8, 9))
    out = conv(x)
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, conv(x.contiguous(memory_format=torch.channels_last)))


def test_second_derivatives_are_those_of_the_plain_convolution():
    torch.manual_seed(0)
    shape, taps = (1, 3, 5, 6), (3, 1, 3, 3)
    leaves = [
        torch.randn(s, dtype=torch.double, device=DEVICE, requires_grad=True)
        for s in (shape, taps, (3,), shape)
    ]

    def second(function, *tensors):
        loss = (function(*tensors[:3]).square() * tensors[3]).sum()
        firsts = torch.autograd.grad(loss, tensors[:3], create_graph=True)
        return torch.autograd.grad(sum(first.pow(3).sum() for first in firsts), tensors)

    wanted = second(lambda x, w, b: F.conv2d(x, w, b, padding=1, groups=3), *leaves)
    singles = [t.detach().float().requires_grad_() for t in leaves]
    got = second(lambda x, w, b: depthwise(x, w, b), *singles)
    for ours, theirs in zip(got, wanted, strict=True):
        scale = float(theirs.abs().max())
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("stream", [torch.float16, torch.float32])
@pytest.mark.parametrize("channels", [32, 64] if not CUDA else [32, 64, 128])
def test_second_half_of_a_local_block_is_that_of_the_plain_layers(channels, stream):
    torch.manual_seed(0)
    layers = [nn.Linear(a * channels, b * channels) for a, b in ((1, 1), (1, 4), (4, 1))]
    layers = [layer.half().to(DEVICE).requires_grad_(False) for layer in layers]
    shape = (2, 5, 7, channels)
    attended = torch.randn(shape, device=DEVICE).half()
    x = torch.randn(shape, device=DEVICE).to(stream)
    assert fused_op.kernel_takes(attended, 4 * channels)
    out = fused_op.project_and_feed(attended, x, *layers)
    project, fc1, fc2 = (layer.double() for layer in layers)
    middle = x.double() + project(attended.double())
    expected = middle + fc2(F.gelu(fc1(middle)))
    assert (out.shape, out.dtype) == (x.shape, stream)
    torch.testing.assert_close(out.double(), expected, rtol=2e-3, atol=4e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_layer_norm_is_that_of_the_plain_layer(dtype):
    torch.manual_seed(0)
    norm = nn.LayerNorm(40, 1e-6).to(DEVICE).requires_grad_(False)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = (3 + 2 * torch.randn(2, 3, 5, 40, device=DEVICE)).to(dtype)
    out = fused_op.layer_norm(x, norm, dtype)
    assert (out.shape, out.dtype) == (x.shape, dtype)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-3
    expected = norm.double()(x.double())
    torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=tolerance)


def test_norms_of_fused_models_run_by_the_kernel_and_give_what_follows_its_type(monkeypatch):
    norm = FusedLayerNorm(nn.LayerNorm(32), casts=True).to(DEVICE).requires_grad_(False)
    x = torch.randn(2, 6, 32, device=DEVICE)
    expected = norm.float()(x)
    monkeypatch.setattr(nn.LayerNorm, "forward", None)
    torch.testing.assert_close(norm(x), expected, rtol=1e-5, atol=1e-5)
    with torch.autocast(DEVICE, torch.float16):
        assert norm(x).dtype == torch.float16
        norm.casts = False
        assert norm(x).dtype == torch.float32
    monkeypatch.undo()
    norm.kernels = False
    monkeypatch.setattr(fused_op, "layer_norm", None)
    norm(x)


def test_a_fused_local_block_runs_by_the_kernel(monkeypatch):
    torch.manual_seed(0)
    arch = {"depths": [1, 1, 1, 1], "embed_dims": [32, 32, 32, 32], "head_dim": 32}
    model = UniFormer(arch, kernels=True, out_indices=[1]).eval()
    fused = fuse(model).half().to(DEVICE)
    block = next(module for module in fused.modules() if isinstance(module, FusedLocalBlock))
    x = torch.randn(1, 6, 9, 32, device=DEVICE)
    with torch.no_grad():
        expected = model.blocks1[0].to(DEVICE)(x)
        monkeypatch.setattr(block.mlp, "forward", None)
        torch.testing.assert_close(block(x.half()).float(), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.skipif(not CUDA, reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("attention", ["hybrid", "global"])
def test_models_in_half_precision_are_as_near_to_single_precision_as_without_kernels(
    attention, dtype
):
    torch.manual_seed(0)
    model = UniFormer(attention=attention, kernels=False).to(DEVICE).eval()
    x = torch.randn(2, 3, 200, 264, device=DEVICE)

    def error(outputs):
        pairs = zip(outputs, expected, strict=True)
        return max(float((a.float() - b).norm() / b.norm()) for a, b in pairs)

    with torch.no_grad():
        expected = model(x)
        with torch.autocast("cuda", dtype):
            allowed = 1.3 * error(model(x))
            convolutions.use_kernels(model, True)
            assert error(model(x)) < allowed
            assert error(fuse(model)(x)) < allowed
        # Here residual connections are rounded as well.
        assert error(fuse(model).to(dtype)(x.to(dtype))) < 2 * allowed


@pytest.mark.skipif(not CUDA, reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_gives_what_pytorch_gives(dtype):
    for kind, span in ((Depthwise2d, 5), (Depthwise2d, 3)):
        conv, x = conv_and_input(kind, span, (2, 64, 40, 36))
        with torch.autocast("cuda", dtype):
            out = conv(x)
            conv.kernels = False
            expected = conv(x)
        assert out.dtype == expected.dtype
        torch.testing.assert_close(out.float(), expected.float(), rtol=2e-2, atol=2e-2)


@pytest.mark.skipif(not CUDA, reason="needs a GPU")
def test_compiled_it_gives_the_same_and_the_same_gradients():
    conv, x = conv_and_input(Depthwise2d, 3, (2, 64, 20, 24))
    x.requires_grad_()
    results = []
    for function in (conv, torch.compile(conv, dynamic=True)):
        out = function(x)
        results.append((out, *torch.autograd.grad(out.square().sum(), (x, *conv.parameters()))))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
