# Large-scale jitter for 100 epochs (4 repetitions of the data in each of 25), layer-wise decay of
# the learning rate, and a moving average of the weights, which is what is evaluated.
_base_ = ["mmdet::common/lsj-100e_coco-instance.py"]

custom_imports = dict(imports=["uniformer_mm"], allow_failed_imports=False)

optim_wrapper = dict(
    type="AmpOptimWrapper",
    loss_scale="dynamic",
    optimizer=dict(_delete_=True, type="AdamW", lr=0.0002, betas=(0.9, 0.999), weight_decay=0.05),
    constructor="mmengine.LayerDecayConstructor",
    paramwise_cfg=dict(layer_decay_rate=0.8, norm_decay_mult=0.0, bias_decay_mult=0.0),
)
custom_hooks = [
    dict(
        type="EMAHook",
        ema_type="ExpMomentumEMA",
        momentum=0.0002,
        update_buffers=True,
        priority=49,  # just before the checkpoint hook
    )
]
