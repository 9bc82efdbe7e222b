_base_ = [
    "../_base_/semantic_fpn_uniformer.py",
    "../_base_/ade20k_80k.py",
    "../_base_/uniformer_xxs.py",
]

model = dict(backbone=_base_.pop("backbone"), neck=dict(in_channels=[56, 112, 224, 448]))
