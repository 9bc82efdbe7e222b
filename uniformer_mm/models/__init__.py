"""UniFormer backbones."""

from uniformer_mm.models.uniformer import ARCHS, UniFormer

__all__ = ["ARCHS", "UniFormer"]
