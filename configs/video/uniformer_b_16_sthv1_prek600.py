_base_ = ["../_base_/something_something_v1.py", "../_base_/kinetics_weights.py"]

model = dict(
    backbone=dict(
        arch="base",
        drop_path_rate=0.5,
        init_cfg=dict(type="Pretrained", checkpoint=_base_.kinetics600_base),
    )
)
train_dataloader = dict(batch_size=5)
optim_wrapper = dict(optimizer=dict(lr=0.00025))
auto_scale_lr = dict(base_batch_size=40)
