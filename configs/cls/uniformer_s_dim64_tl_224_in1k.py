_base_ = ["../_base_/imagenet_tl_224.py"]

model = dict(backbone=dict(arch="small", drop_path_rate=0.1))
