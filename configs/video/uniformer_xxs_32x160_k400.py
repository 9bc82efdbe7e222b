_base_ = ["../_base_/kinetics400_light.py"]

model = dict(
    backbone=dict(
        drop_path_rate=0.05,
        init_cfg=dict(type="Pretrained", checkpoint=_base_.imagenet_xxs_160),
    )
)

_base_.train_pipeline[1].clip_len = _base_.test_pipeline[1].clip_len = 32
_base_.train_pipeline[5].scale = (160, 160)
_base_.test_pipeline[3].scale = (-1, 160)
_base_.test_pipeline[4].crop_size = 160
val_pipeline = _base_.test_pipeline
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
