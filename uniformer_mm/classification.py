"""What the classification configs need beyond mmpretrain; importing this module registers it.

``custom_imports = dict(imports=["uniformer_mm", "uniformer_mm.classification"])``
"""

from uniformer_mm.hooks import classification_pictures
from uniformer_mm.models.data_preprocessors import mix_token
from uniformer_mm.models.heads import class_token_head, token_labeling_head
from uniformer_mm.schedulers import WarmupCosineLR

__all__ = [
    "WarmupCosineLR",
    "class_token_head",
    "classification_pictures",
    "mix_token",
    "token_labeling_head",
]
