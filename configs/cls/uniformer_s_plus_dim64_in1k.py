_base_ = ["../_base_/imagenet_300e.py"]

model = dict(backbone=dict(arch="small_plus", head_dim=64, drop_path_rate=0.1))
