_base_ = ["../_base_/imagenet_light_600e.py"]

model = dict(backbone=dict(arch="xs", drop_path_rate=0.1), head=dict(in_channels=512))
optim_wrapper = dict(optimizer=dict(lr=4e-3, weight_decay=0.05))
