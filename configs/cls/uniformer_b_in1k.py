_base_ = ["../_base_/imagenet_300e.py"]

model = dict(backbone=dict(arch="base", drop_path_rate=0.3))
optim_wrapper = dict(optimizer=dict(lr=8e-4))
