_base_ = ["./uniformer_s_16x8_k600.py"]

model = dict(
    backbone=dict(arch="base", drop_path_rate=0.3, init_cfg=dict(checkpoint=_base_.imagenet_base))
)
optim_wrapper = dict(optimizer=dict(lr=0.000125))
