"""What the classification configs need beyond mmpretrain; importing this module registers it.

``custom_imports = dict(imports=["uniformer_mm", "uniformer_mm.classification"])``
"""

from uniformer_mm.engine.schedulers import WarmupCosineLR
from uniformer_mm.models import class_token_head, mix_token, token_labeling_head

__all__ = [
    "WarmupCosineLR",
    "class_token_head",
    "mix_token",
    "token_labeling_head",
]
