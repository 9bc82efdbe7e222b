_base_ = [
    "../_base_/mask_rcnn_uniformer.py",
    "../_base_/coco_1x.py",
    "../_base_/uniformer_xxs.py",
]

model = dict(backbone=_base_.pop("backbone"), neck=dict(in_channels=[56, 112, 224, 448]))
# Single precision.
optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    optimizer=_base_.optim_wrapper.optimizer,
    paramwise_cfg=_base_.optim_wrapper.paramwise_cfg,
)
