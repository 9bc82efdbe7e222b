_base_ = ["./tsn_uniformer_s_k400.py"]

model = dict(
    backbone=dict(arch="base", drop_path_rate=0.3, init_cfg=dict(checkpoint=_base_.imagenet_base))
)
