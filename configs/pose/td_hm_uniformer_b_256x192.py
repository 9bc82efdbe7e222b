_base_ = ["./td_hm_uniformer_s_256x192.py"]

model = dict(
    backbone=dict(arch="base", drop_path_rate=0.4, init_cfg=dict(checkpoint=_base_.imagenet_base))
)
