_base_ = ["./uniformer_b_16_sthv1_prek400.py"]

model = dict(backbone=dict(drop_path_rate=0.5, init_cfg=dict(checkpoint=_base_.kinetics600_base)))
