_base_ = ["./uniformer_s_16_sthv1_prek400.py"]

model = dict(
    backbone=dict(
        arch="base", drop_path_rate=0.6, init_cfg=dict(checkpoint=_base_.kinetics400_base)
    )
)
train_dataloader = dict(batch_size=5)
optim_wrapper = dict(optimizer=dict(lr=0.00025))
auto_scale_lr = dict(base_batch_size=40)
