_base_ = [
    "../_base_/mask_rcnn_uniformer.py",
    "../_base_/coco_1x.py",
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
# Single precision.
optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    optimizer=_base_.optim_wrapper.optimizer,
    paramwise_cfg=_base_.optim_wrapper.paramwise_cfg,
)
