"""Taps show channels-last layers to programs that expect channels-first."""

import pytest
import torch
from small_models import ARCH

from uniformer_mm.models import ChannelsFirstTap, UniFormer

LAYERS = {
    "norm1": (32, 16, 16),
    "norm4": (64, 2, 2),
    "blocks1.0": (32, 16, 16),
    "patch_embed2": (32, 8, 8),
    "blocks3.0.norm1": (64, 4, 4),
    "blocks3.0.attn": (64, 4, 4),
    "blocks4.0.mlp.fc1": (256, 2, 2),
}
"""Channels, height and width of the output of layers for 64 x 64 pixels."""


def watch(module, seen):
    """Keep the output of a module and its gradient."""

    def hook(module, inputs, output):
        seen["output"] = output.detach()
        output.register_hook(lambda gradient: seen.update(gradient=gradient))

    return module.register_forward_hook(hook)


@pytest.mark.parametrize("name", LAYERS)
def test_a_tap_sees_output_and_gradient_channels_first(name):
    torch.manual_seed(0)
    backbone = UniFormer(ARCH, attention="window", window_size=3)
    layer, image = backbone.get_submodule(name), torch.randn(2, 3, 64, 64)
    weights = list(backbone.parameters())

    def gradients():
        loss = sum(output.square().mean() for output in backbone(image))
        return torch.autograd.grad(loss, weights)

    expected, seen = {}, {}
    handle = watch(layer, expected)
    expected_gradients = gradients()
    handle.remove()
    tap = ChannelsFirstTap(layer)
    watch(tap, seen)
    torch.testing.assert_close(gradients(), expected_gradients)
    for kind, value in seen.items():
        assert value.shape == (2, *LAYERS[name])
        torch.testing.assert_close(value, expected[kind].movedim(-1, 1))
    assert set(seen) == {"output", "gradient"}

    tap.remove()
    seen.clear()
    backbone(image)
    assert not seen
