"""What the classification configs need beyond mmpretrain; importing this module registers it.

``custom_imports = dict(imports=["uniformer_mm", "uniformer_mm.classification"])``
"""

from uniformer_mm.engine.schedulers import WarmupCosineLR
from uniformer_mm.models.data_preprocessors import mix_token
from uniformer_mm.models.heads import class_token_head, token_labeling_head

__all__ = [
    "WarmupCosineLR",
    "class_token_head",
    "mix_token",
    "token_labeling_head",
]
