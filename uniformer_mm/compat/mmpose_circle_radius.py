"""mmpose draws joints with an array as their radius, which numpy no longer makes an integer of.

Defect: `PoseLocalVisualizer` calls `draw_circles` with a radius of shape (1,), whose OpenCV backend
    calls `int(radius)`. Converting an array that has dimensions was deprecated in numpy 1.25.
Versions: mmpose <= 1.3.2 with numpy >= 2.5.
Shows as: `TypeError: only 0-dimensional arrays can be converted to Python scalars`.
Repair: the radius is made a number first.
Upstream: https://github.com/numpy/numpy/pull/10615
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

from uniformer_mm.compat.after_import import repair_after_import

VISUALIZER = "mmpose.visualization.opencv_backend_visualizer"


def apply() -> None:
    """Repair the visualizer as soon as it is imported."""
    repair_after_import(VISUALIZER, repair)


def is_active() -> bool:
    """Whether mmpose is installed, and numpy refuses such an array."""
    if find_spec("mmpose") is None:
        return False
    try:
        int(np.ones(1))
    except TypeError:
        return True
    return False


def repair(module: ModuleType) -> None:
    """Let `draw_circles` take a radius of shape (1,)."""
    visualizer = module.OpencvBackendVisualizer
    draw_circles = visualizer.draw_circles
    if hasattr(draw_circles, "takes_arrays"):
        return

    @functools.wraps(draw_circles)
    def draw_circles_of_any_radius(
        self: Any, center: Any, radius: Any, *args: Any, **kw: Any
    ) -> Any:
        if self.backend == "opencv":
            radius = np.asarray(radius).item()
        return draw_circles(self, center, radius, *args, **kw)

    draw_circles_of_any_radius.takes_arrays = True  # type: ignore[attr-defined]
    visualizer.draw_circles = draw_circles_of_any_radius
