_base_ = ["../_base_/imagenet_tl_224.py"]

model = dict(backbone=dict(arch="large", drop_path_rate=0.4), head=dict(in_channels=640))
optim_wrapper = dict(optimizer=dict(lr=1.2e-3))
