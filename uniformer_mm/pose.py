"""What the pose configs need beyond mmpose; importing this module registers it.

``custom_imports = dict(imports=["uniformer_mm", "uniformer_mm.pose"])``
"""

from uniformer_mm.datasets.transforms import pose_transforms
from uniformer_mm.models.heads import heatmap_head

__all__ = ["heatmap_head", "pose_transforms"]
