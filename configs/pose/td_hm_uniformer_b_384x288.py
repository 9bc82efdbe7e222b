_base_ = ["./td_hm_uniformer_s_384x288.py"]

model = dict(
    backbone=dict(arch="base", drop_path_rate=0.5, init_cfg=dict(checkpoint=_base_.imagenet_base))
)
train_dataloader = dict(batch_size=32)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
auto_scale_lr = dict(base_batch_size=256)
