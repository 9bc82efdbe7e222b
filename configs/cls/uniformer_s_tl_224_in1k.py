_base_ = ["../_base_/imagenet_tl_224.py"]

model = dict(backbone=dict(arch="small", head_dim=32, drop_path_rate=0.1))
