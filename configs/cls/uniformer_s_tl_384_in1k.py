_base_ = ["../_base_/imagenet_tl_384.py"]

model = dict(backbone=dict(arch="small", head_dim=32, drop_path_rate=0.1))

# What the training at 224 pixels leaves; `--cfg-options load_from=PATH` starts from another one.
load_from = "work_dirs/uniformer_s_tl_224_in1k/epoch_310.pth"
