"""mmpose draws keypoints with an array as radius, which numpy no longer converts to an integer.

Defect: `PoseLocalVisualizer` calls `draw_circles` with a radius of shape (1,), whose OpenCV backend
    calls `int(radius)`. Converting an array that has dimensions was deprecated in numpy 1.25.
Versions: mmpose <= 1.3.2 with numpy >= 2.5.
Shows as: `TypeError: only 0-dimensional arrays can be converted to Python scalars`.
Repair: the radius is converted to a number first.
Upstream: https://github.com/numpy/numpy/pull/10615
"""

from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

from uniformer_mm.compat.patching import wrap


def is_active() -> bool:
    """Whether mmpose is installed and numpy refuses such an array."""
    try:
        int(np.ones(1))
    except TypeError:
        return find_spec("mmpose") is not None
    return False


def patch(module: ModuleType) -> None:
    """Let `draw_circles` take a radius of shape (1,)."""
    wrap(module.OpencvBackendVisualizer, "draw_circles", _draw_circles)


def _draw_circles(draw: Any, self: Any, center: Any, radius: Any, *args: Any, **kw: Any) -> Any:
    if self.backend == "opencv":
        radius = np.asarray(radius).item()
    return draw(self, center, radius, *args, **kw)


PATCHES = {"mmpose.visualization.opencv_backend_visualizer": patch}
