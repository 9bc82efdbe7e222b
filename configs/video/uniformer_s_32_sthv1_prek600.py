_base_ = ["./uniformer_s_32_sthv1_prek400.py"]

model = dict(backbone=dict(drop_path_rate=0.3, init_cfg=dict(checkpoint=_base_.kinetics600_small)))
