_base_ = ["./semantic_fpn_uniformer_xxs.py"]

model = dict(
    backbone=dict(arch="xs", drop_path_rate=0.1, init_cfg=dict(checkpoint=_base_.imagenet_xs_224)),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
