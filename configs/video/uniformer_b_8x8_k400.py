_base_ = ["./uniformer_s_8x8_k400.py"]

model = dict(
    backbone=dict(arch="base", drop_path_rate=0.3, init_cfg=dict(checkpoint=_base_.imagenet_base))
)
train_dataloader = dict(batch_size=8)
optim_wrapper = dict(optimizer=dict(lr=0.0002))
auto_scale_lr = dict(base_batch_size=64)
