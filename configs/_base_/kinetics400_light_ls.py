# Layer scale in all blocks, which the ImageNet weights do not have.
_base_ = ["./kinetics400_light.py"]

model = dict(
    backbone=dict(
        layer_scale="all",
        layer_scale_init=0.1,
        fp32_attention=True,
        init_cfg=dict(may_miss=["gamma_1", "gamma_2"]),
    )
)
_base_.train_pipeline[3].update(magnitude=10, magnitude_std=0.0)
optim_wrapper = dict(optimizer=dict(lr=4e-4))
