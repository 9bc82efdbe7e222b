_base_ = [
    "../_base_/semantic_fpn_uniformer.py",
    "../_base_/ade20k_80k.py",
    "../_base_/imagenet_weights_light.py",
]

model = dict(
    backbone=dict(
        _delete_=True,
        type="mmengine.UniFormerLight",
        arch="xxs",
        init_cfg=dict(type="Pretrained", checkpoint=_base_.imagenet_xxs_224),
    ),
    neck=dict(in_channels=[56, 112, 224, 448]),
)
