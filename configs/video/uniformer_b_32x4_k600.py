_base_ = ["../_base_/kinetics600.py"]

for split in ("train", "val", "test"):
    for pipeline in (_base_[f"{split}_pipeline"], _base_[f"{split}_dataloader"].dataset.pipeline):
        pipeline[1].update(clip_len=32, frame_interval=4)
del split, pipeline

model = dict(
    backbone=dict(arch="base", drop_path_rate=0.3, init_cfg=dict(checkpoint=_base_.imagenet_base))
)
# Four nodes of eight GPUs; the authors multiplied all rates by the number of nodes.
optim_wrapper = dict(optimizer=dict(lr=0.0004))
param_scheduler = dict(warmup_lr=4e-6, eta_min=4e-6)
auto_scale_lr = dict(base_batch_size=128)
