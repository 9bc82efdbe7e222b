_base_ = ["../_base_/kinetics400.py"]

# One frame from each of eight segments of the video; the image backbone sees them one by one, and
# the head takes the mean of their features. The recipe is ours, after that of the 3-D models.
segments = dict(type="SampleFrames", clip_len=1, frame_interval=1, num_clips=8)
train_pipeline = [
    _base_.train_pipeline[0],
    segments,
    *_base_.train_pipeline[2:-2],
    dict(type="FormatShape", input_format="NCHW"),
    _base_.train_pipeline[-1],
]
val_pipeline = [
    _base_.val_pipeline[0],
    dict(segments, test_mode=True),
    *_base_.val_pipeline[2:-2],
    dict(type="FormatShape", input_format="NCHW"),
    _base_.val_pipeline[-1],
]
test_pipeline = [
    _base_.val_pipeline[0],
    dict(segments, num_clips=25, test_mode=True),
    *val_pipeline[2:],
]
del segments

model = dict(
    type="Recognizer2D",
    backbone=dict(
        dims=2,
        out_indices=3,
        output_norm="batch",  # that of the ImageNet model
    ),
    cls_head=dict(type="TSNHead", consensus=dict(type="AvgConsensus", dim=1)),
    data_preprocessor=dict(format_shape="NCHW"),
)
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
optim_wrapper = dict(optimizer=dict(lr=0.0002))
param_scheduler = dict(T_max=50, warmup=5)
train_cfg = dict(max_epochs=50)
auto_scale_lr = dict(base_batch_size=64)
