_base_ = ["./uniformer_xxs_224_in1k.py"]

_base_.train_pipeline[1].scale = 128
_base_.test_pipeline[1].scale = 146
_base_.test_pipeline[2].crop_size = 128
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
