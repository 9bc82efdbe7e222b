# No published result: the recipe is mmseg's for ResNet-50, the optimizer's that for Swin.
_base_ = [
    "mmseg::mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py",
    "../_base_/uniformer_s.py",
    "../_base_/slow_backbone.py",
]

custom_imports = dict(
    imports=["uniformer_mm", "uniformer_mm.segmentation", "mmdet.models"],
    allow_failed_imports=False,
)
custom_hooks = [dict(type="CheckLabelsHook")]
default_hooks = dict(visualization=dict(type="mmengine.DrawPredictionsHook"))
visualizer = dict(alpha=0.6)

model = dict(
    backbone=dict(_base_.pop("backbone"), attention="hybrid", window_size=14, drop_path_rate=0.2),
    decode_head=dict(in_channels=[64, 128, 320, 512]),
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=_base_.pop("slow_backbone")))

# LoadLabelMap takes `reduce_zero_label` from the dataset.
_base_.train_pipeline[1] = dict(type="LoadLabelMap")
_base_.test_pipeline[2] = dict(type="LoadLabelMap")
_base_.tta_pipeline[1].transforms[2] = [dict(type="LoadLabelMap")]
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
