_base_ = ["./kinetics400.py", "./imagenet_weights_light.py"]

# Configs are called frames x pixels. They start from the ImageNet weights of the same size.
model = dict(
    backbone=dict(
        _delete_=True,
        type="mmengine.UniFormerLight",
        arch="xxs",
        dims=3,
        class_token=True,
        drop_path_rate=0.05,
        init_cfg=dict(type="Pretrained"),
    ),
    cls_head=dict(type="ClassTokenVideoHead", in_channels=448),
)

# Sparse sampling: the video in as many segments as frames, one frame of each. The authors name it,
# but its code is not in their release.
clip = dict(type="UniformSample", clip_len=16)
_base_.train_pipeline[1] = clip
_base_.val_pipeline[1] = dict(clip, test_mode=True)
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.val_pipeline
train_pipeline[3].update(magnitude=5, num_ops=2, magnitude_std=0.25, increasing=False)
del clip

# The published results are those of the best of all epochs.
train_cfg = dict(val_interval=1)
train_dataloader = dict(batch_size=32)
optim_wrapper = dict(optimizer=dict(lr=8e-4, weight_decay=0.1))
auto_scale_lr = dict(base_batch_size=256)
