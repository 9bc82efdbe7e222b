"""What the video configs need beyond mmaction2; importing this module registers it.

``custom_imports = dict(imports=["uniformer_mm", "uniformer_mm.video"])``
"""

from uniformer_mm.datasets import video_dataset, video_transforms
from uniformer_mm.hooks import video_pictures
from uniformer_mm.models.data_preprocessors.mix_clips import MixClips
from uniformer_mm.models.heads import class_token_video_head, spare_outputs_head
from uniformer_mm.schedulers import WarmupCosineLR

__all__ = [
    "MixClips",
    "WarmupCosineLR",
    "class_token_video_head",
    "spare_outputs_head",
    "video_dataset",
    "video_pictures",
    "video_transforms",
]
