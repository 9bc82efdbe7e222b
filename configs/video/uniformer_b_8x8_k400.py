_base_ = ["../_base_/kinetics400.py"]

model = dict(
    backbone=dict(
        arch="base",
        drop_path_rate=0.3,
        init_cfg=dict(type="Pretrained", checkpoint=_base_.imagenet_base),
    )
)
train_dataloader = dict(batch_size=8)
optim_wrapper = dict(optimizer=dict(lr=0.0002))
train_cfg = dict(max_epochs=100)
param_scheduler = dict(T_max=100)
auto_scale_lr = dict(base_batch_size=64)
