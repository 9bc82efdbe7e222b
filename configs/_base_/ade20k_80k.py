_base_ = ["./ade20k.py"]

train_dataloader = dict(batch_size=4)
auto_scale_lr = dict(base_batch_size=32)

# The authors repeat the training set 50 times to restart the loader less often; the sampler here
# is endless. Everything decays, norms and biases included.
optim_wrapper = dict(optimizer=dict(_delete_=True, type="AdamW", lr=0.0002, weight_decay=0.0001))

train_cfg = dict(max_iters=80000, val_interval=4000)
default_hooks = dict(checkpoint=dict(interval=4000))

# The last iteration of LinearLR is end - 2: with 1001 the ramp has the 1000 steps of mmcv 1.x.
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=1001),
    dict(type="CosineAnnealingLR", eta_min_ratio=1e-8, by_epoch=False, begin=0, end=80000),
]

# For tests, images are resized (not padded) up to multiples of 32.
to_multiple = dict(type="ResizeToMultiple", size_divisor=32)
test_pipeline = [*_base_.test_pipeline[:2], to_multiple, *_base_.test_pipeline[2:]]
resizes, *rest = _base_.tta_pipeline[1].transforms
tta_pipeline = [
    _base_.tta_pipeline[0],
    dict(type="TestTimeAug", transforms=[resizes, [to_multiple], *rest]),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
del to_multiple, resizes, rest
