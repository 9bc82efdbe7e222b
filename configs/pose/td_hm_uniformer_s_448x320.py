_base_ = ["../_base_/coco_keypoints_448x320.py"]

model = dict(
    backbone=dict(
        arch="small",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=_base_.imagenet_small),
    )
)
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
auto_scale_lr = dict(base_batch_size=512)
