_base_ = ["./uniformer_b_32_sthv1_prek400.py"]

model = dict(backbone=dict(init_cfg=dict(checkpoint=_base_.kinetics600_base)))
