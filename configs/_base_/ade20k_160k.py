_base_ = ["./ade20k.py"]

train_dataloader = dict(batch_size=2)
auto_scale_lr = dict(base_batch_size=16)

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=0.00006, betas=(0.9, 0.999), weight_decay=0.01),
    # Norms of the backbone do not decay; those of the heads are called `bn`, and do.
    paramwise_cfg=dict(custom_keys=dict(norm=dict(decay_mult=0.0))),
)

# Both curves are over at end - 1: with one more they have the steps of mmcv 1.x.
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=1501),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=0, end=160001),
]
