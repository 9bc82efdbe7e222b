"""Half precision stays finite, and near to single precision, on inputs and weights of any size."""

import pytest
import torch
from test_properties import randomise, tensors

from uniformer_mm.models import UniFormer, UniFormerLight

TINY = {"depths": (1, 1, 4, 1), "embed_dims": (16, 32, 64, 64), "head_dim": 32}
CONV = {**TINY, "stem": "conv", "downsample": "conv", "layer_scale": "all"}
MODELS = {
    "image": (UniFormer, {}),
    "hybrid": (UniFormer, {"attention": "hybrid", "window_size": 4}),
    "plus": (UniFormer, {"arch": CONV}),
    "video": (UniFormer, {"dims": 3}),
    "divided": (UniFormer, {"dims": 3, "split": True}),
    "light": (UniFormerLight, {}),
    "light video": (UniFormerLight, {"dims": 3}),
    "light fp32 attention": (UniFormerLight, {"dims": 3, "fp32_attention": True}),
}
HALVES = [torch.float16, torch.bfloat16]
FAR = {torch.float16: 0.01, torch.bfloat16: 0.05}
"""Largest mean difference to single precision, in standard deviations of an output."""


def make(name):
    kind, options = MODELS[name]
    model = kind(**{"arch": TINY, **options})
    randomise(model, seed=0)
    return model


def noise(model):
    frames = (4,) if model.dims == 3 else ()
    return torch.randn(1, 3, *frames, 96, 96, generator=torch.manual_seed(0))


def in_half(model, images, dtype):
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not torch.float32):
        return tensors(model(images))


def assert_near(outputs, expected, far):
    for output, wanted in zip(outputs, expected, strict=True):
        assert output.isfinite().all()
        assert (output.float() - wanted).abs().mean() < far * wanted.std()


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_images_of_any_contrast_give_what_single_precision_gives(name, dtype):
    model, cast = make(name).eval(), make(name).eval().to(dtype)
    # Light models may keep other tokens where two are alike.
    far = FAR[dtype] * (5 if name.startswith("light") else 1)
    normal = noise(model)
    # 1000 times the contrast would leave the range of float16 in the largest of these models.
    for images in (normal, 0 * normal, 0 * normal + 2.6, 500 * normal, 1e-6 * normal):
        expected = tensors(model(images))
        assert_near(in_half(model, images, dtype), expected, far)
        assert_near(tensors(cast(images.to(dtype))), expected, far)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize(
    ("weights", "factor"),
    [
        # Products of queries and keys of 1e7, where fp16 ends at 65504.
        ("blocks3.0.attn.qkv.weight", 300),
        ("blocks3.1.attn.qkv.weight", 300),
        ("blocks4.0.attn.qkv.weight", 300),
        ("blocks3.1.norm1.weight", 100),
        ("blocks1.0.mlp.fc2.weight", 1000),
        ("blocks3.0.mlp.fc2.weight", 1000),
        ("cls_token", 1e5),
    ],
)
@torch.no_grad()
def test_huge_weights_of_a_block_stay_finite(weights, factor, dtype):
    for name in MODELS:
        model = make(name).eval()
        if weights in model.state_dict():
            model.get_parameter(weights).mul_(factor)
            for output in in_half(model, noise(model), dtype):
                assert output.isfinite().all(), name


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_constant_images_give_finite_gradients(name, dtype):
    """Equal tokens, channels without variance, scores that are all alike."""
    model = make(name).train()
    if model.dims == 3 and dtype == torch.bfloat16:
        pytest.skip(
            "torch's bf16 depthwise 3-D convolution on CPUs now and then gives NaN gradients"
        )
    outputs = in_half(model, 0 * noise(model) + 2.6, dtype)
    sum(output.float().square().mean() for output in outputs).backward()
    for weights_name, weights in model.named_parameters():
        assert weights.grad.isfinite().all(), weights_name
