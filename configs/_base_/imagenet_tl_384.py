_base_ = ["./imagenet_tl_224.py"]

train_pipeline = _base_.train_pipeline
for _, crop in train_pipeline[2].transforms:
    crop.scale = 384
del _, crop
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = 426
test_pipeline[2].crop_size = 384
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=64, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

# The rate is the least one of the authors' cosine from the start: it is constant.
train_cfg = dict(max_epochs=60)
optim_wrapper = dict(optimizer=dict(lr=5e-6, weight_decay=1e-8))
param_scheduler = None
custom_hooks = []
auto_scale_lr = dict(base_batch_size=512)
