_base_ = ["../_base_/kinetics400.py"]

for pipeline in (_base_.train_pipeline, _base_.val_pipeline, _base_.test_pipeline):
    pipeline[1].update(clip_len=16, frame_interval=4)
del pipeline

model = dict(
    backbone=dict(
        arch="small",
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint=_base_.imagenet_small),
    )
)
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
optim_wrapper = dict(optimizer=dict(lr=0.0001))
auto_scale_lr = dict(base_batch_size=32)
