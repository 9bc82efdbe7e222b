# Top-down pose estimation at 256x192 as published; the other sizes derive from this file.
_base_ = [
    "mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py",
    "./imagenet_weights.py",
]

custom_imports = dict(
    imports=[
        "uniformer_mm",
        "uniformer_mm.datasets.pose_transforms",
        "uniformer_mm.models.heads.heatmap_head",
    ],
    allow_failed_imports=False,
)

model = dict(
    # Only the last stage is used: output norms of the others would never get a gradient.
    backbone=dict(_delete_=True, type="mmengine.UniFormer", attention="global", out_indices=(3,)),
    # SyncBN as in the authors' configs; their published code does not hand it to deconvolutions.
    head=dict(type="DeconvNormHeatmapHead", in_channels=512, norm_cfg=dict(type="SyncBN")),
)

# As mmpose 0.16: the offset comes first, a half-body crop replaces it.
train_pipeline = [
    dict(type="LoadImage"),
    dict(type="GetBBoxCenterScale"),
    dict(type="mmengine.BoxCentreJitter", prob=0.3, factor=0.2),
    dict(type="RandomFlip", direction="horizontal"),
    # The upper body was preferred where a standard normal number is below 0.5.
    dict(type="RandomHalfBody", upper_prioritized_prob=0.6915),
    dict(
        type="mmengine.RandomBoxScaleRotation", scale_factor=0.5, rotate_factor=40, rotate_prob=0.6
    ),
    dict(type="TopdownAffine", input_size=_base_.codec.input_size),
    dict(type="GenerateTarget", encoder=_base_.codec),
    dict(type="PackPoseInputs"),
]
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=256)
test_dataloader = val_dataloader

# Every parameter decays, norms and biases too.
optim_wrapper = dict(
    type="AmpOptimWrapper",
    loss_scale="dynamic",
    optimizer=dict(_delete_=True, type="AdamW", lr=2e-3, betas=(0.9, 0.999), weight_decay=0.01),
)
# The last iteration of LinearLR is end - 2: with 501 the ramp has the 500 steps of mmcv 1.x.
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=501),
    dict(type="MultiStepLR", by_epoch=True, begin=0, end=210, milestones=[170, 200], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=1024)
default_hooks = dict(checkpoint=dict(interval=5))
