_base_ = ["../_base_/imagenet_tl_384.py"]

model = dict(backbone=dict(arch="large", drop_path_rate=0.3), head=dict(in_channels=640))
train_dataloader = dict(batch_size=32)
val_dataloader = dict(batch_size=32)
test_dataloader = val_dataloader
auto_scale_lr = dict(base_batch_size=256)

# What the training at 224 pixels leaves; `--cfg-options load_from=PATH` starts from another one.
load_from = "work_dirs/uniformer_l_ls_tl_224_in1k/epoch_310.pth"
