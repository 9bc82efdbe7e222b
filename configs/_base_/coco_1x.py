_base_ = [
    "mmdet::_base_/datasets/coco_instance.py",
    "mmdet::_base_/schedules/schedule_1x.py",
    "mmdet::_base_/default_runtime.py",
]

custom_imports = dict(imports=["uniformer_mm"], allow_failed_imports=False)

optim_wrapper = dict(
    type="AmpOptimWrapper",
    loss_scale="dynamic",
    optimizer=dict(_delete_=True, type="AdamW", lr=0.0001, betas=(0.9, 0.999), weight_decay=0.05),
    # Norms of the backbone do not decay; its biases and position embeddings (convolutions) do.
    paramwise_cfg=dict(custom_keys=dict(norm=dict(decay_mult=0.0))),
)

# The last iteration of LinearLR is end - 2: with 501 the ramp has the 500 steps of mmcv 1.x.
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=501),
    dict(type="MultiStepLR", by_epoch=True, begin=0, end=12, milestones=[8, 11], gamma=0.1),
]
