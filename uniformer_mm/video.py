"""What the video configs need beyond mmaction2; importing this module registers it.

``custom_imports = dict(imports=["uniformer_mm", "uniformer_mm.video"])``
"""

from uniformer_mm.datasets import video_dataset
from uniformer_mm.datasets.transforms import video_transforms
from uniformer_mm.engine.schedulers import WarmupCosineLR
from uniformer_mm.models.data_preprocessors.mix_clips import MixClips
from uniformer_mm.models.heads import class_token_video_head, spare_outputs_head

__all__ = [
    "MixClips",
    "WarmupCosineLR",
    "class_token_video_head",
    "spare_outputs_head",
    "video_dataset",
    "video_transforms",
]
