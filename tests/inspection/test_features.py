"""Colours of feature maps and kernels of local blocks."""

import numpy as np
import torch

from uniformer_mm.inspection.features import PrincipalColours, activation_norms, affinity_kernels
from uniformer_mm.models.uniformer import LocalBlock


def test_colours_are_principal_components():
    torch.manual_seed(0)
    axes, _ = torch.linalg.qr(torch.randn(16, 3))
    parts = torch.rand(8, 9, 3) * torch.tensor([9.0, 3.0, 1.0])
    features = parts @ axes.T + 5
    colours = PrincipalColours(features)(features)
    assert colours.shape == (8, 9, 3)
    for channel, part in zip((2, 1, 0), range(3), strict=True):  # BGR: the first one is red
        levels, truth = colours[..., channel].ravel(), parts[..., part].ravel().numpy()
        assert abs(np.corrcoef(levels, truth)[0, 1]) > 0.9
        assert (levels.min(), levels.max()) == (0, 255)
    again = PrincipalColours(features.flip(0))(features)
    assert np.abs(again.astype(int) - colours).max() <= 1, "signs are fixed"


def test_colours_mean_the_same_in_another_map():
    features = torch.randn(4, 4, 8)
    colours = PrincipalColours(features)
    np.testing.assert_array_equal(colours(features[:2]), colours(features)[:2])
    flat = torch.ones(2, 2, 8)
    assert PrincipalColours(flat)(flat).shape == (2, 2, 3), "no division by zero"


def test_norms_are_root_mean_squares():
    norms = activation_norms(torch.tensor([[[3.0, 4.0], [0.0, 0.0]]]))
    np.testing.assert_allclose(norms, [[12.5**0.5, 0]])


def test_kernels_are_those_that_relate_neighbours():
    block = LocalBlock(3, 6)
    with torch.no_grad():
        block.attn.weight[4] *= 9
        block.attn.weight[1] *= 5
    kernels = affinity_kernels(block, strongest=2)
    assert list(kernels) == ["mean of |weights|", "channel 4", "channel 1"]
    np.testing.assert_array_equal(kernels["channel 4"], block.attn.weight[4, 0].detach())
    np.testing.assert_allclose(
        kernels["mean of |weights|"], block.attn.weight.abs().mean((0, 1)).detach(), rtol=1e-6
    )
    # The aggregator in between the pointwise convolutions is nothing but these kernels.
    x = torch.zeros(1, 6, 5, 5, 5)
    x[0, 4, 2, 2, 2] = 1
    response = (block.attn(x) - block.attn(torch.zeros_like(x)))[0, 4].detach()
    np.testing.assert_allclose(response.flip(0, 1, 2), kernels["channel 4"], atol=1e-6)
