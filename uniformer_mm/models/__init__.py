"""UniFormer backbones."""

from uniformer_mm.models.archs import ARCHS, LIGHT_ARCHS
from uniformer_mm.models.taps import ChannelsFirstTap
from uniformer_mm.models.uniformer import UniFormer
from uniformer_mm.models.uniformer_light import UniFormerLight

__all__ = ["ARCHS", "LIGHT_ARCHS", "ChannelsFirstTap", "UniFormer", "UniFormerLight"]
