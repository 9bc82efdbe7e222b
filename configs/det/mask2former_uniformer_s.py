# No published result: the recipe is mmdet's for ResNet-50, the optimizer's that for Swin.
_base_ = [
    "mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py",
    "../_base_/uniformer_s.py",
    "../_base_/slow_backbone.py",
]

custom_imports = dict(imports=["uniformer_mm"], allow_failed_imports=False)

model = dict(
    backbone=dict(_base_.pop("backbone"), attention="hybrid", window_size=14, drop_path_rate=0.2),
    panoptic_head=dict(in_channels=[64, 128, 320, 512]),
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=_base_.pop("slow_backbone")))
