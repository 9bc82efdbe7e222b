"""UniFormer backbones."""

from uniformer_mm.models.uniformer import ARCHS, UniFormer
from uniformer_mm.models.uniformer_light import LIGHT_ARCHS, UniFormerLight

__all__ = ["ARCHS", "LIGHT_ARCHS", "UniFormer", "UniFormerLight"]
