_base_ = ["../_base_/imagenet_light_600e.py"]

model = dict(backbone=dict(arch="xs", drop_path_rate=0.1), head=dict(in_channels=512))
optim_wrapper = dict(optimizer=dict(lr=4e-3, weight_decay=0.05))

_base_.train_pipeline[1].scale = 192
_base_.test_pipeline[1].scale = 219
_base_.test_pipeline[2].crop_size = 192
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
