_base_ = ["../_base_/imagenet_light_600e.py", "../_base_/imagenet_autoaugment_v0.py"]

model = dict(backbone=dict(arch="xxs"))

_base_.train_pipeline[3] = dict(
    type="AutoAugment", policies=_base_.policies, hparams=_base_.train_pipeline[3].hparams
)
_base_.train_pipeline[1].scale = 128
_base_.test_pipeline[1].scale = 146
_base_.test_pipeline[2].crop_size = 128
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
