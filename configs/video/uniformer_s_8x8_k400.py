_base_ = ["../_base_/kinetics400.py"]

model = dict(
    backbone=dict(
        arch="small",
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint=_base_.imagenet_small),
    )
)
train_dataloader = dict(batch_size=16)
optim_wrapper = dict(optimizer=dict(lr=0.0004))
train_cfg = dict(max_epochs=100)
param_scheduler = dict(T_max=100)
auto_scale_lr = dict(base_batch_size=128)
