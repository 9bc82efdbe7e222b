_base_ = ["../_base_/coco_keypoints.py"]

model = dict(
    backbone=dict(
        arch="base",
        drop_path_rate=0.4,
        init_cfg=dict(type="Pretrained", checkpoint=_base_.imagenet_base),
    )
)
