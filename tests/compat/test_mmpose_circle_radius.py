"""mmpose draws joints with every version of numpy."""

import numpy as np
import pytest

pytestmark = pytest.mark.stack

pytest.importorskip("mmpose")


@pytest.mark.parametrize("radius", [np.array([3.0]), np.array(3), 3])
@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_circles_are_drawn_with_a_radius_of_any_shape(radius: object, alpha: float) -> None:
    from mmpose.visualization.opencv_backend_visualizer import OpencvBackendVisualizer

    visualizer = OpencvBackendVisualizer(backend="opencv")
    visualizer.set_image(np.zeros((20, 20, 3), np.uint8))
    visualizer.draw_circles(np.array([10, 10]), radius, face_colors=(200, 0, 0), alpha=alpha)
    drawn = visualizer.get_image()[..., 0]
    assert drawn[10, 10] == round(200 * alpha)
    assert drawn[10, 13] > 0
    assert drawn[10, 15] == 0
