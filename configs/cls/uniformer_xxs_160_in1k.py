_base_ = ["./uniformer_xxs_224_in1k.py"]

_base_.train_pipeline[1].scale = 160
_base_.test_pipeline[1].scale = 182
_base_.test_pipeline[2].crop_size = 160
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
