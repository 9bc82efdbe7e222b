_base_ = ["../_base_/imagenet_tl_224.py"]

model = dict(backbone=dict(arch="small_plus", head_dim=64, drop_path_rate=0.1))
