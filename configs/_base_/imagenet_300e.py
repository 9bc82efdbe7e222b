_base_ = ["./imagenet.py"]

model = dict(
    neck=dict(type="GlobalAveragePooling"),
    head=dict(
        type="LinearClsHead",
        num_classes=1000,
        in_channels=512,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02),
    ),
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]),
)

train_dataloader = dict(sampler=dict(_delete_=True, type="RepeatAugSampler"))

# A moving average is kept, but the published results are those of the model itself. As always in
# OpenMMLab, a checkpoint has the average under `state_dict` and the model under `ema_state_dict`;
# the hook exchanges them when it loads one for testing.
custom_hooks = [
    dict(
        type="EMAHook",
        momentum=4e-5,  # 1 - 0.99996
        update_buffers=True,
        evaluate_on_ema=False,
        evaluate_on_origin=True,
        priority="ABOVE_NORMAL",
    )
]
