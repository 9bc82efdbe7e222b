_base_ = [
    "mmpretrain::_base_/datasets/imagenet_bs64_swin_224.py",
    "mmpretrain::_base_/schedules/imagenet_bs1024_adamw_swin.py",
    "mmpretrain::_base_/default_runtime.py",
]

custom_imports = dict(
    imports=["uniformer_mm", "uniformer_mm.classification"], allow_failed_imports=False
)

model = dict(
    type="ImageClassifier",
    backbone=dict(type="mmengine.UniFormer", output_norm="batch", out_indices=(3,)),
)

# What OpenCV reads; mmpretrain's default lacks some.
images = dict(
    extensions=(
        *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"),
    )
)
# Sizes of batches are per GPU, for 8 GPUs.
train_dataloader = dict(
    batch_size=128, num_workers=10, persistent_workers=True, drop_last=True, dataset=images
)
val_dataloader = dict(batch_size=192, num_workers=10, persistent_workers=True, dataset=images)
del images
test_dataloader = val_dataloader

# One-dimensional parameters do not decay: biases, norms, and the layer scale of global blocks.
optim_wrapper = dict(
    type="AmpOptimWrapper",
    loss_scale="dynamic",
    paramwise_cfg=dict(_delete_=True, flat_decay_mult=0.0),
)

# The authors step their schedule with the number of the epoch that is over: the first two epochs
# run at the first rate.
param_scheduler = [
    dict(
        type="mmengine.WarmupCosineLR",
        T_max=300,
        warmup=5,
        warmup_lr=1e-6,
        eta_min=1e-5,
        delay=1,
    )
]

default_hooks = dict(
    checkpoint=dict(max_keep_ckpts=3, save_best="accuracy/top1"),
    visualization=dict(type="mmengine.DrawPredictionsHook"),
)
