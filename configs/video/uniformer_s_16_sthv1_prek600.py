_base_ = ["../_base_/something_something_v1.py", "../_base_/kinetics_weights.py"]

model = dict(
    backbone=dict(
        arch="small",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=_base_.kinetics600_small),
    )
)
optim_wrapper = dict(optimizer=dict(lr=0.0002))
auto_scale_lr = dict(base_batch_size=32)
