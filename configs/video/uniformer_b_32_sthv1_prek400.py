_base_ = ["./uniformer_s_32_sthv1_prek400.py"]

model = dict(
    backbone=dict(
        arch="base", drop_path_rate=0.6, init_cfg=dict(checkpoint=_base_.kinetics400_base)
    )
)
