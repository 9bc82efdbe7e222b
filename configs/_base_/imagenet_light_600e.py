_base_ = ["./imagenet.py"]

model = dict(
    backbone=dict(
        _delete_=True, type="mmengine.UniFormerLight", output_norm="batch", class_token=True
    ),
    head=dict(
        type="ClassTokenHead",
        num_classes=1000,
        in_channels=448,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02),
    ),
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]),
)

train_dataloader = dict(batch_size=512)
val_dataloader = dict(batch_size=768)
test_dataloader = val_dataloader
auto_scale_lr = dict(base_batch_size=4096)

# Single precision.
optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=3.2e-3, weight_decay=0.1),
    # The class token does not decay either.
    paramwise_cfg=dict(flat_decay_mult=0.0, custom_keys=dict(cls_token=dict(decay_mult=0.0))),
)

train_cfg = dict(max_epochs=600)
_base_.param_scheduler[0].update(T_max=600, warmup=30)

# The published results are the better of the moving average and the model itself.
custom_hooks = [
    dict(
        type="EMAHook",
        momentum=1e-4,  # 1 - 0.9999
        update_buffers=True,
        evaluate_on_origin=True,
        priority="ABOVE_NORMAL",
    )
]
