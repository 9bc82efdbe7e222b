_base_ = ["../_base_/imagenet_300e.py"]

model = dict(backbone=dict(arch="small", drop_path_rate=0.1))
