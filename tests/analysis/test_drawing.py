"""Tokens are painted where their pixels are."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.model import ImgDataPreprocessor

from uniformer_mm.analysis.panels import (
    MARK,
    PANEL,
    colour_layer,
    heat_layer,
    kernel_picture,
    overview,
    paint,
    seen_frames,
)
from uniformer_mm.tasks import TASKS


def test_tokens_cover_their_pixels_and_what_is_not_seen_is_grey():
    image = np.full((70, 100, 3), (200, 100, 50), np.uint8)  # 4 x 6 tokens of 16 pixels, and a rest
    values = np.full((4, 6), np.nan, np.float32)
    values[1, 2:4] = 1.0, 0.5
    painted = paint(image, heat_layer("", values), 0, (1, 16), None)
    assert painted.shape == (336, PANEL, 3)
    scale = 336 / 70
    seen = painted.max(-1).astype(int) - painted.min(-1) > 20
    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    assert abs(rows[0] - 16 * scale) <= 2
    assert abs(rows[-1] - 32 * scale) <= 3
    assert abs(columns[0] - 32 * scale) <= 2
    assert abs(columns[-1] - 64 * scale) <= 3
    bright, half = painted[115, 200].astype(int), painted[115, 280].astype(int)
    assert bright.sum() > half.sum()
    outside = painted[300, 440]
    assert outside.max() == outside.min() < 60


def test_marks_are_in_the_frames_of_their_token():
    image = np.zeros((32, 32, 3), np.uint8)
    layer = colour_layer("", np.zeros((2, 2, 2, 3), np.uint8))
    for frame in range(4):
        for picture in (
            paint(image, layer, frame, (2, 16), (1, 0, 1)),
            overview(image, frame, (2, 16), (1, 0, 1)),
        ):
            rows, columns = np.nonzero((picture == MARK).all(-1))
            assert (len(rows) > 0) == (frame >= 2)
            if frame >= 2:
                assert rows.max() < PANEL / 2 + 3
                assert columns.min() > PANEL / 2 - 3


@pytest.mark.parametrize("scope", ["mmdet", "mmaction"])
@pytest.mark.parametrize("reverses", [False, True])
def test_what_was_seen_is_the_image_without_normalisation(scope, reverses):
    image = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    # Images are read as BGR, frames as RGB.
    read = image if scope == "mmdet" else image.flip(0)
    preprocessor = ImgDataPreprocessor((1, 2, 3), (4, 5, 6), bgr_to_rgb=reverses)
    x = preprocessor({"inputs": [read]})["inputs"][0]
    channels = TASKS[scope].channel_order(preprocessor)
    (frame,) = seen_frames(x, preprocessor, channels)
    np.testing.assert_array_equal(frame, image.movedim(0, -1))
    clip = seen_frames(x[:, None].expand(-1, 3, -1, -1), preprocessor, channels)
    np.testing.assert_array_equal(clip, np.stack([frame] * 3))


def test_without_normalisation_levels_stay():
    x = torch.full((3, 2, 2), 7.0)
    assert (seen_frames(x, SimpleNamespace(), "BGR") == 7).all()


@pytest.mark.parametrize("steps", [1, 5])
def test_kernels_stand_in_rows_of_blocks(steps):
    kernel = np.linspace(-1, 1, 25 * steps, dtype=np.float32).reshape(-1, 5, 5).squeeze()
    named = {"mean of |weights|": np.abs(kernel), "channel 3": kernel}
    picture = kernel_picture({"block 1.1": named, "block 1.2": named})
    one = kernel_picture({"block 1.1": named})
    assert picture.shape == (2 * one.shape[0], one.shape[1], 3)
    assert one.shape[1] > 2 * steps * 5 * 28
    assert {(0, 0, 255), (255, 0, 0)} <= {tuple(pixel) for pixel in one.reshape(-1, 3)}
