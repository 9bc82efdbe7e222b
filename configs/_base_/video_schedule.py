_base_ = ["mmaction::_base_/default_runtime.py", "./imagenet_weights.py"]

custom_imports = dict(imports=["uniformer_mm", "uniformer_mm.video"], allow_failed_imports=False)

optim_wrapper = dict(
    type="AmpOptimWrapper",
    loss_scale="dynamic",
    optimizer=dict(type="AdamW", lr=0.0001, betas=(0.9, 0.999), weight_decay=0.05),
    # Nothing one-dimensional decays: biases and norms.
    paramwise_cfg=dict(flat_decay_mult=0.0),
    clip_grad=dict(max_norm=20),
)
param_scheduler = dict(
    type="mmengine.WarmupCosineLR",
    T_max=110,
    warmup=10,
    warmup_lr=1e-6,
    eta_min=1e-6,
    after_warmup=True,
    convert_to_iter_based=True,
)

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=110, val_begin=1, val_interval=5)
auto_scale_lr = dict(base_batch_size=32)  # 4 videos on each of 8 GPUs
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
val_evaluator = dict(type="AccMetric")
test_evaluator = val_evaluator

default_hooks = dict(
    checkpoint=dict(interval=1, max_keep_ckpts=3),
    visualization=dict(type="mmengine.DrawPredictionsHook"),
)
