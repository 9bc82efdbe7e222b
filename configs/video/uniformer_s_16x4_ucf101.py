_base_ = ["../_base_/kinetics400.py", "../_base_/kinetics_weights.py"]

for pipeline in (_base_.train_pipeline, _base_.val_pipeline, _base_.test_pipeline):
    pipeline[1].update(clip_len=16, frame_interval=4)
_base_.train_pipeline[3].update(magnitude=5, num_ops=2, magnitude_std=0.25, increasing=False)
_base_.test_pipeline[1].update(num_clips=5)
test_pipeline = [
    dict(type="ThreeCrop", crop_size=224) if step["type"] == "CenterCrop" else step
    for step in _base_.test_pipeline
]
del pipeline

model = dict(
    backbone=dict(
        arch="small",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=_base_.kinetics400_small),
    ),
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
val_dataloader = dict(dataset=dict(pipeline=_base_.val_pipeline, **validation))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline, **validation))
del data, validation

optim_wrapper = dict(optimizer=dict(lr=0.00005))
param_scheduler = dict(T_max=25, warmup=5)
train_cfg = dict(max_epochs=25, val_interval=1)
auto_scale_lr = dict(base_batch_size=128)
