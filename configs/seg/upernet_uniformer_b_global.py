_base_ = ["../_base_/upernet_uniformer.py", "../_base_/ade20k_160k.py"]

model = dict(
    backbone=dict(
        arch="base",
        attention="global",
        drop_path_rate=0.4,
        with_cp=(0, 0, 2, 0),
        init_cfg=dict(checkpoint=_base_.imagenet_base),
    )
)
