"""The backbone has the official tensors and gives the official numbers."""

import hashlib
import math

import pytest
import torch
from parity import CASES, assert_matches
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from uniformer_mm.doctor.parity import build, fill, outputs_of
from uniformer_mm.models import ARCHS, UniFormer, UniFormerLight
from uniformer_mm.models.archs import ARCH_DEFAULTS, window_sizes
from uniformer_mm.models.uniformer import Attention


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_names_shapes_and_outputs_are_official(case):
    model = build(case)
    names = sorted(f"{name} {list(t.shape)}" for name, t in model.state_dict().items())
    assert len(names) == case["state_count"]
    assert hashlib.sha256("\n".join(names).encode()).hexdigest() == case["state_sha256"]
    fill(model)
    for output, official in zip(outputs_of(model, case), case["outputs"], strict=True):
        assert_matches(output, official)


@pytest.mark.parametrize(
    ("backbone", "options"),
    [
        (UniFormer, {}),
        (UniFormer, {"dims": 3, "split": True}),
        (UniFormer, {"arch": "small_plus"}),
        (UniFormerLight, {"output_norm": "batch", "class_token": True}),
    ],
    ids=["2d", "split", "plus", "light"],
)
def test_epsilon_of_every_norm_is_official(backbone, options):
    """Too small to show in outputs, so asserted: 1e-6 in blocks and at outputs, else 1e-5."""
    for name, module in backbone(**options).named_modules():
        if isinstance(module, nn.LayerNorm):
            wide = name.startswith("patch_embed") or name == "norm_cls"
            assert module.eps == (1e-5 if wide else 1e-6), name
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.eps == 1e-5, name


# Measured on the official code: parameters in millions, multiply-adds in 10^9 of convolutions,
# linear layers and attention. Classifiers are left out here, 1000 or 400 classes each.
COSTS = [
    ("small", {"output_norm": "batch"}, (3, 224, 224), 21.545 - 0.513, 3.632 - 0.0005),
    ("small_plus", {"output_norm": "batch"}, (3, 224, 224), 24.033 - 0.513, 4.201 - 0.0005),
    ("base", {"output_norm": "batch"}, (3, 224, 224), 49.777 - 0.513, 8.249 - 0.0005),
    (
        "base",
        {"output_norm": "batch", "layer_scale": "global"},
        (3, 224, 224),
        49.797 - 0.513,
        8.249 - 0.0005,
    ),
    ("large", {"output_norm": "batch"}, (3, 384, 384), 100.104 - 2 * 0.641, 62.764 - 0.0928),
    ("small", {"attention": "hybrid"}, (3, 800, 1280), 21.033, 98.765),
    ("small", {"attention": "window", "window_size": 32}, (3, 512, 2048), 21.033, 96.317),
    ("base", {"attention": "hybrid"}, (3, 800, 1280), 49.265, 229.495),
    ("base", {}, (3, 512, 2048), 49.265, 384.006),
    ("small", {}, (3, 256, 192), 21.033, 3.553),
    ("small", {"dims": 3}, (3, 8, 224, 224), 21.4 - 0.205, 17.566),
    ("base", {"dims": 3}, (3, 16, 224, 224), 49.813 - 0.205, 96.554),
    ("small", {"dims": 3, "split": True}, (3, 16, 224, 224), 27.848 - 0.205, 36.68),
]


def padding_gmacs(arch, options, shape):
    """Return multiply-adds, in 10^9, of the official code's projections of padded tokens.

    A padded token is zero, so its query, key and value are the bias.
    """
    depth, width = ARCHS[arch]["depths"][2], ARCH_DEFAULTS["embed_dims"][2]
    size, tokens = options.get("window_size", 14), [side // 16 for side in shape[1:]]
    padded = [-(-side // size) * size for side in tokens]
    blocks = sum(bool(w) for w in window_sizes(options.get("attention", "global"), size, depth))
    return blocks * (math.prod(padded) - math.prod(tokens)) * 4 * width**2 / 1e9


# The same of lightweight models with two classifiers, of which one runs in testing.
LIGHT_COSTS = [
    ("xxs", 1000, (3, 128, 128), 10.215, 0.425),
    ("xxs", 1000, (3, 224, 224), 10.215, 1.299),
    ("xs", 1000, (3, 224, 224), 16.509, 1.931),
    ("xxs", 0, (3, 800, 1280), 9.317, 45.408),
    ("xs", 0, (3, 800, 1280), 15.483, 63.067),
    ("xxs", 400, (3, 4, 160, 160), 9.834, 1.569),
    ("xxs", 400, (3, 16, 160, 160), 9.834, 6.833),
    ("xs", 400, (3, 32, 192, 192), 16.1, 33.787),
]


def costs(kind, arch, options, shape, monkeypatch):
    """Return the model, its parameters in millions and its multiply-adds in 10^9."""
    monkeypatch.setattr(Attention, "fused", False)  # the counter knows matrix products only
    with torch.device("meta"):
        model = kind(arch, **options).eval()
        inputs = torch.empty(1, *shape)
    with FlopCounterMode(display=False) as counter:
        model(inputs)
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    return model, millions, counter.get_total_flops() / 2e9


@pytest.mark.parametrize(("arch", "options", "shape", "millions", "gmacs"), COSTS)
def test_parameters_and_multiply_adds_are_official(
    monkeypatch, arch, options, shape, millions, gmacs
):
    _, measured_millions, measured = costs(UniFormer, arch, options, shape, monkeypatch)
    assert measured_millions == pytest.approx(millions, abs=1.1e-3)
    assert measured + padding_gmacs(arch, options, shape) == pytest.approx(gmacs, abs=1.1e-3)


@pytest.mark.parametrize(("arch", "num_classes", "shape", "millions", "gmacs"), LIGHT_COSTS)
def test_parameters_and_multiply_adds_of_lightweight_models_are_official(
    monkeypatch, arch, num_classes, shape, millions, gmacs
):
    options = {"dims": len(shape) - 1, "output_norm": "batch" if num_classes else "layer"}
    options["class_token"] = num_classes > 0
    model, measured_millions, measured = costs(UniFormerLight, arch, options, shape, monkeypatch)
    width = model.embed_dims[3]
    measured_millions += 2 * num_classes * (width + 1) / 1e6
    assert measured_millions == pytest.approx(millions, abs=1.1e-3)
    # The mean of the dropped tokens is a product here, which the counter sees: up to 0.02 %.
    measured += num_classes * width / 1e9
    assert measured == pytest.approx(gmacs, abs=1.1e-3, rel=3e-4)
