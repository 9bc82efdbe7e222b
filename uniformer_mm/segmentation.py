"""What the segmentation configs need beyond mmseg; importing this module registers it.

``custom_imports = dict(imports=["uniformer_mm", "uniformer_mm.segmentation"])``
"""

from uniformer_mm.datasets.transforms import segmentation_transforms
from uniformer_mm.engine.hooks import check_labels

__all__ = ["check_labels", "segmentation_transforms"]
