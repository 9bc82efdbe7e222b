_base_ = ["./uniformer_s_16_sthv2_prek400.py"]

model = dict(backbone=dict(init_cfg=dict(checkpoint=_base_.kinetics600_small)))
