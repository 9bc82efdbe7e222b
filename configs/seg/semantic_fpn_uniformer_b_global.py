_base_ = ["../_base_/semantic_fpn_uniformer.py", "../_base_/ade20k_80k.py"]

model = dict(
    backbone=dict(
        arch="base",
        attention="global",
        drop_path_rate=0.2,
        init_cfg=dict(checkpoint=_base_.imagenet_base),
    )
)
