_base_ = ["../_base_/kinetics400_light.py"]

model = dict(backbone=dict(init_cfg=dict(checkpoint=_base_.imagenet_xxs_160)))

_base_.train_pipeline[1].clip_len = _base_.val_pipeline[1].clip_len = 32
_base_.train_pipeline[5].scale = (160, 160)
_base_.val_pipeline[3].scale = (-1, 160)
_base_.val_pipeline[4].crop_size = 160
test_pipeline = _base_.val_pipeline
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=_base_.val_pipeline))
