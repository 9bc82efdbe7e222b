"""Tokens are drawn where their pixels are."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.model import ImgDataPreprocessor

from uniformer_mm.analysis.overlays import (
    MARK,
    PANEL,
    Layer,
    PrincipalComponents,
    affinity_kernels,
    draw_kernels,
    draw_panel,
    input_frames,
)
from uniformer_mm.models.uniformer import LocalBlock
from uniformer_mm.tasks import TASKS
from uniformer_mm.visualization.drawing import GAP


def test_tokens_cover_their_pixels_and_what_is_not_seen_is_grey():
    image = np.full((70, 100, 3), (200, 100, 50), np.uint8)  # 4 x 6 tokens of 16 pixels, and a rest
    values = np.full((4, 6), np.nan, np.float32)
    values[1, 2:4] = 1.0, 0.5
    with_bar = draw_panel(image, Layer("", (1, 16)).with_heat("", values))
    drawn, below = with_bar[:336], with_bar[336:]
    assert drawn.shape == (336, PANEL, 3)
    assert (below[:GAP] == 255).all()
    bar = below[GAP + 5].astype(int).sum(-1)
    assert bar[0] == 600, "transparent at 0, over light grey"
    over_image = drawn[115, 200].astype(int) - 0.25 * image[0, 0]
    assert bar[-1] - 150 == pytest.approx(over_image.sum(), abs=4), "ends at the maximum"
    scale = 336 / 70
    seen = drawn.max(-1).astype(int) - drawn.min(-1) > 20
    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    np.testing.assert_allclose((rows[0], rows[-1]), (16 * scale, 32 * scale), atol=3)
    np.testing.assert_allclose((columns[0], columns[-1]), (32 * scale, 64 * scale), atol=3)
    assert drawn[115, 200].astype(int).sum() > drawn[115, 280].astype(int).sum()
    outside = drawn[300, 440]
    assert outside.max() == outside.min() < 60


def test_marks_are_in_the_frames_of_their_token():
    image = np.zeros((32, 32, 3), np.uint8)
    plain = Layer("", (2, 16), (1, 0, 1))
    coloured = plain.with_colours("", np.zeros((2, 2, 2, 3), np.uint8))
    for frame, layer in product(range(4), (plain, coloured)):
        rows, columns = np.nonzero((draw_panel(image, layer, frame) == MARK).all(-1))
        assert (len(rows) > 0) == (frame >= 2)
        if frame >= 2:
            assert rows.max() < PANEL / 2 + 3
            assert columns.min() > PANEL / 2 - 3


@pytest.mark.parametrize("scope", ["mmdet", "mmaction"])
@pytest.mark.parametrize("reverses", [False, True])
def test_input_frames_are_the_images_without_normalization(scope, reverses):
    image = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    # Images are read as BGR, frames as RGB.
    read = image if scope == "mmdet" else image.flip(0)
    preprocessor = ImgDataPreprocessor((1, 2, 3), (4, 5, 6), bgr_to_rgb=reverses)
    x = preprocessor({"inputs": [read]})["inputs"][0]
    channels = TASKS[scope].channel_order(preprocessor)
    (frame,) = input_frames(x, preprocessor, channels)
    np.testing.assert_array_equal(frame, image.movedim(0, -1))
    clip = input_frames(x[:, None].expand(-1, 3, -1, -1), preprocessor, channels)
    np.testing.assert_array_equal(clip, np.stack([frame] * 3))
    levels = input_frames(torch.full((3, 2, 2), 7.0), SimpleNamespace(), channels)
    assert (levels == 7).all(), "without normalization"


def test_colours_are_principal_components():
    axes, _ = torch.linalg.qr(torch.randn(16, 3))
    parts = torch.rand(8, 9, 3) * torch.tensor([9.0, 3.0, 1.0])
    features = parts @ axes.T + 5
    components = PrincipalComponents(features)
    colours = components(features)
    assert colours.shape == (8, 9, 3)
    for channel, part in zip((2, 1, 0), range(3), strict=True):  # BGR: the first one is red
        levels, expected = colours[..., channel].ravel(), parts[..., part].ravel().numpy()
        assert abs(np.corrcoef(levels, expected)[0, 1]) > 0.9
        assert (levels.min(), levels.max()) == (0, 255)
    again = PrincipalComponents(features.flip(0))(features)
    assert np.abs(again.astype(int) - colours).max() <= 1, "signs are fixed"
    np.testing.assert_array_equal(components(features[:2]), colours[:2])
    flat = torch.ones(2, 2, 8)
    assert PrincipalComponents(flat)(flat).shape == (2, 2, 3), "no division by zero"


def test_kernels_are_those_of_the_local_relation_aggregator():
    block = LocalBlock(3, 6)
    with torch.no_grad():
        block.attn.weight[4] *= 9
        block.attn.weight[1] *= 5
    kernels = affinity_kernels(block, strongest=2)
    assert list(kernels) == ["mean of |weights|", "channel 4", "channel 1"]
    np.testing.assert_allclose(
        kernels["mean of |weights|"], block.attn.weight.abs().mean((0, 1)).detach(), rtol=1e-6
    )
    x = torch.zeros(1, 6, 5, 5, 5)
    x[0, 4, 2, 2, 2] = 1
    response = (block.attn(x) - block.attn(torch.zeros_like(x)))[0, 4].detach()
    np.testing.assert_allclose(response.flip(0, 1, 2), kernels["channel 4"], atol=1e-6)


@pytest.mark.parametrize("steps", [1, 5])
def test_kernels_are_in_a_row_for_each_block(steps):
    kernel = np.linspace(-1, 1, 25 * steps, dtype=np.float32).reshape(-1, 5, 5).squeeze()
    named = {"mean of |weights|": np.abs(kernel), "channel 3": kernel}
    drawn = draw_kernels({"block 1.1": named, "block 1.2": named})
    one = draw_kernels({"block 1.1": named})
    assert drawn.shape == (2 * one.shape[0] + GAP, one.shape[1], 3)
    column = draw_kernels({"block 1.1": named}, columns=1)
    assert column.shape == (2 * one.shape[0] + GAP, (one.shape[1] - GAP) // 2, 3)
    assert (one[:, -1] != 0).any(-1).all(), "no black frame"
    assert one.shape[1] > 2 * steps * 5 * 28
    assert {(0, 0, 255), (255, 0, 0)} <= {tuple(pixel) for pixel in one.reshape(-1, 3)}
