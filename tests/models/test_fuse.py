"""A fused model computes what the model computes, and leaves it alone."""

import copy

import pytest
import torch

from uniformer_mm.models import UniFormer, UniFormerLight
from uniformer_mm.models.fuse import FusedLocalBlock, fuse

SHALLOW = {"depths": (2, 1, 4, 1)}
MODELS = {
    "hybrid": lambda: UniFormer(SHALLOW, attention="hybrid", window_size=5),
    "layer scale": lambda: UniFormer(SHALLOW, layer_scale="all", layer_scale_init=0.5),
    "plus": lambda: UniFormer(dict(SHALLOW, stem="conv", downsample="conv"), output_norm="batch"),
    "video": lambda: UniFormer(SHALLOW, dims=3),
    "divided": lambda: UniFormer(SHALLOW, dims=3, split=True, std=True),
    "light": lambda: UniFormerLight(dict(SHALLOW, head_dim=32)),
    "light, scaled": lambda: UniFormerLight(
        dict(SHALLOW, head_dim=32), layer_scale="all", layer_scale_init=0.5
    ),
    "light video": lambda: UniFormerLight(dict(SHALLOW, head_dim=32), dims=3, class_token=True),
}


def build(name):
    """A model whose statistics and affine parameters are not those of a fresh one."""
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    return model, torch.randn(2, 3, *((4,) if model.dims == 3 else ()), 97, 70)


def flat(outputs):
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    return [tensor for output in outputs for tensor in flat(output)]


@pytest.mark.parametrize("name", MODELS)
def test_outputs_stay_the_same(name):
    model, x = build(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        expected, fused = flat(model(x)), fuse(model)
        kept = x.clone()
        ours = flat(fused(x))
        in_double = flat(fuse(model.double())(x.double()))
    assert torch.equal(x, kept)
    for a, b, c in zip(ours, expected, in_double, strict=True):
        assert (a - b).abs().max() <= 1e-4 * b.abs().max()
        assert (c - b).abs().max() <= 1e-4 * b.abs().max()
    assert all(torch.equal(value.float(), before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("around", ["alone", "ours fused", "then ours"])
@pytest.mark.parametrize("name", ["hybrid", "plus", "light video"])
def test_fuse_conv_bn_of_mmcv_changes_no_output(name, around):
    """It pairs a norm with the layer before it; benchmark.py of mmdet and mmaction2 call it."""
    fuse_conv_bn = pytest.importorskip("mmcv.cnn.utils").fuse_conv_bn
    model, x = build(name)
    model = torch.nn.ModuleDict({"conv": torch.nn.Conv2d(3, 3, 1), "backbone": model}).eval()
    with torch.no_grad():
        expected = flat(model["backbone"](x))
        if around == "alone":
            fused = fuse_conv_bn(copy.deepcopy(model))
        elif around == "ours fused":
            fused = fuse_conv_bn(fuse(model))
        else:
            fused = fuse(fuse_conv_bn(copy.deepcopy(model)))
        ours = flat(fused["backbone"](x))
    for a, b in zip(ours, expected, strict=True):
        assert (a - b).abs().max() <= 1e-4 * b.abs().max()


@pytest.mark.parametrize("name", ["hybrid", "light"])
def test_gradients_of_the_input_pass_through(name):
    model, x = build(name)
    gradients = []
    for net in (model, fuse(model)):
        image = x.clone().requires_grad_()
        out = net(image)[3]
        (out * torch.linspace(-1, 1, out.numel()).view(out.shape)).sum().backward()
        gradients.append(image.grad)
    assert (gradients[0] - gradients[1]).abs().max() <= 1e-3 * gradients[0].abs().max()


def test_compiles_without_a_graph_break():
    model, x = build("hybrid")
    fused = fuse(model)
    compiled = torch.compile(fused, fullgraph=True, backend="eager")
    with torch.no_grad():
        for a, b in zip(compiled(x), fused(x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["hybrid", "light"])
def test_autocast_takes_the_plain_path(name):
    model, x = build(name)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for a, b in zip(fuse(model)(x), model(x), strict=True):
            assert (a - b).std() < 0.05 * b.std()


def test_what_contains_a_backbone_is_fused_too():
    model, x = build("plus")
    whole = torch.nn.Sequential(model, torch.nn.AdaptiveAvgPool2d(1)).train()
    fused = fuse(whole)
    assert isinstance(fused[0].blocks1[0], FusedLocalBlock)
    assert not any(p.requires_grad for p in fused.parameters())
    assert not fused.training
    assert whole.training
    with torch.no_grad():
        torch.testing.assert_close(fused(x), whole.eval()(x), rtol=1e-4, atol=1e-4)


def test_nothing_to_fuse_is_an_error():
    model, _ = build("hybrid")
    with pytest.raises(ValueError, match="no UniFormer"):
        fuse(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="already"):
        fuse(fuse(model))
