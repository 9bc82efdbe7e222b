_base_ = ["../_base_/kinetics400_light.py"]

model = dict(
    backbone=dict(
        drop_path_rate=0.05,
        layer_scale="all",
        layer_scale_init=0.1,
        fp32_attention=True,
        init_cfg=dict(
            type="Pretrained",
            checkpoint=_base_.imagenet_xxs_160,
            may_miss=["gamma_1", "gamma_2"],
        ),
    )
)

_base_.train_pipeline[1].clip_len = _base_.test_pipeline[1].clip_len = 4
_base_.train_pipeline[5].scale = (160, 160)
_base_.test_pipeline[3].scale = (-1, 160)
_base_.test_pipeline[4].crop_size = 160
_base_.train_pipeline[3].update(magnitude=10, magnitude_std=0.0)
val_pipeline = _base_.test_pipeline
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
optim_wrapper = dict(optimizer=dict(lr=4e-4))
