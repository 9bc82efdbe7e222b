_base_ = ["./uniformer_s_16x4_k400.py", "../_base_/kinetics_weights.py"]

_base_.train_pipeline[3].update(magnitude=5, num_ops=2, magnitude_std=0.25, increasing=False)
_base_.test_pipeline[1].num_clips = 5
_base_.test_pipeline[4] = dict(type="ThreeCrop", crop_size=224)

model = dict(
    backbone=dict(drop_path_rate=0.2, init_cfg=dict(checkpoint=_base_.kinetics400_small)),
    cls_head=dict(num_classes=101),
    data_preprocessor=dict(blending=dict(num_classes=101)),
)
data = dict(num_classes=101, data_root="data/ucf101", data_prefix=dict(video="videos"))
validation = dict(ann_file="ucf101_val_split_1_videos.txt", **data)
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        ann_file="ucf101_train_split_1_videos.txt", pipeline=_base_.train_pipeline, **data
    ),
)
val_dataloader = dict(dataset=validation)
test_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline, **validation))
del data, validation

optim_wrapper = dict(optimizer=dict(lr=0.00005))
param_scheduler = dict(T_max=25, warmup=5)
train_cfg = dict(max_epochs=25, val_interval=1)
auto_scale_lr = dict(base_batch_size=128)
