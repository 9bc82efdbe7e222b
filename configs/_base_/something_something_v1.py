# UniFormer-S on 16 frames, from Kinetics-400; configs of other archs and clips derive from it.
_base_ = ["./kinetics400.py", "./kinetics_weights.py"]

# Sparse sampling: the video in as many segments as frames, one frame of each.
clip = dict(type="UniformSample", clip_len=16)
_base_.train_pipeline[3].as_bgr = True
# No flips: they would make left of right.
train_pipeline = [
    _base_.train_pipeline[0],
    clip,
    *[step for step in _base_.train_pipeline[2:] if step["type"] != "Flip"],
]
val_pipeline = [_base_.val_pipeline[0], dict(clip, test_mode=True), *_base_.val_pipeline[2:]]
test_pipeline = [
    dict(type="ThreeCrop", crop_size=224) if step["type"] == "CenterCrop" else step
    for step in val_pipeline
]

del clip

model = dict(
    backbone=dict(drop_path_rate=0.2, init_cfg=dict(checkpoint=_base_.kinetics400_small)),
    cls_head=dict(num_classes=174),
    # The authors read these frames with OpenCV: their models see BGR. mmaction2's decoders give
    # RGB, of which `to_rgb` makes BGR.
    data_preprocessor=dict(to_rgb=True, blending=dict(num_classes=174)),
)
data = dict(num_classes=174, data_root="data/sthv1", data_prefix=dict(video="videos"))
train_dataloader = dict(
    dataset=dict(ann_file="sthv1_train_list_videos.txt", pipeline=train_pipeline, **data)
)
val_dataloader = dict(
    dataset=dict(ann_file="sthv1_val_list_videos.txt", pipeline=val_pipeline, **data)
)
test_dataloader = dict(
    dataset=dict(ann_file="sthv1_val_list_videos.txt", pipeline=test_pipeline, **data)
)
del data

train_cfg = dict(max_epochs=60)
param_scheduler = dict(T_max=60, warmup=5)
optim_wrapper = dict(optimizer=dict(lr=0.0002))
