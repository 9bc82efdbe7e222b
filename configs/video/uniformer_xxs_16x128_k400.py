_base_ = ["../_base_/kinetics400_light.py"]

model = dict(backbone=dict(fp32_attention=True, init_cfg=dict(checkpoint=_base_.imagenet_xxs_128)))

_base_.train_pipeline[1].clip_len = _base_.val_pipeline[1].clip_len = 16
_base_.train_pipeline[5].scale = (128, 128)
_base_.val_pipeline[3].scale = (-1, 128)
_base_.val_pipeline[4].crop_size = 128
test_pipeline = _base_.val_pipeline
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=_base_.val_pipeline))
