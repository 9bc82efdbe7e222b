_base_ = ["../_base_/kinetics400_light.py"]

model = dict(
    backbone=dict(
        arch="xs",
        drop_path_rate=0.1,
        fp32_attention=True,
        init_cfg=dict(checkpoint=_base_.imagenet_xs_192),
    ),
    cls_head=dict(in_channels=512),
)

_base_.train_pipeline[1].clip_len = _base_.val_pipeline[1].clip_len = 32
_base_.train_pipeline[3].update(magnitude=7, num_ops=4, magnitude_std=0.5, increasing=True)
_base_.train_pipeline[5].scale = (192, 192)
_base_.val_pipeline[3].scale = (-1, 192)
_base_.val_pipeline[4].crop_size = 192
test_pipeline = _base_.val_pipeline
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=_base_.val_pipeline))
optim_wrapper = dict(optimizer=dict(lr=4e-4, weight_decay=0.05))
auto_scale_lr = dict(base_batch_size=128)
