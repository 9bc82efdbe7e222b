"""A probe tells where pixels come from, whatever the geometry of a pipeline."""

import cv2
import numpy as np
import pytest

from uniformer_mm.analysis.locating import make_probe, read_probe
from uniformer_mm.errors import UserError

SIZE = (480, 640)


@pytest.mark.parametrize("border", [0, (103, 116, 123)])
def test_any_affine_map_is_found(border):
    angle, scale = np.deg2rad(20), 0.4
    there = np.array(
        [
            [scale * np.cos(angle), -scale * np.sin(angle), 30],
            [scale * np.sin(angle), scale * np.cos(angle), -15],
        ]
    )
    border = border or (0, 0, 0)
    seen = cv2.warpAffine(make_probe(SIZE), there, (224, 192), borderValue=border)
    back = read_probe(seen, SIZE)
    pixels = np.array([[20, 20, 1], [200, 30, 1], [60, 150, 1]])
    expected = (pixels[:, :2] - there[:, 2]) @ np.linalg.inv(there[:, :2]).T
    np.testing.assert_allclose(pixels @ back.T, expected, atol=1.0)


def test_a_source_can_be_enlarged():
    seen = cv2.resize(make_probe((24, 32)), (320, 240))
    np.testing.assert_allclose(
        read_probe(seen, (24, 32)) @ [159.5, 119.5, 1], [15.5, 11.5], atol=0.2
    )


@pytest.mark.parametrize("fault", ["noise", "nothing"])
def test_what_is_no_map_is_refused(fault):
    noise = np.random.default_rng(0).integers(40, 220, (64, 64, 1)).repeat(3, -1).astype(np.uint8)
    with pytest.raises(UserError, match="the point cannot be found"):
        read_probe(noise if fault == "noise" else np.zeros_like(noise), SIZE)
