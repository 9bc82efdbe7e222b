_base_ = ["../_base_/kinetics400.py"]

train_dataloader = dict(batch_size=16)
optim_wrapper = dict(optimizer=dict(lr=0.0004))
train_cfg = dict(max_epochs=100)
param_scheduler = dict(T_max=100)
auto_scale_lr = dict(base_batch_size=128)
