_base_ = ["../_base_/coco_keypoints_384x288.py"]

model = dict(
    backbone=dict(
        arch="small",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=_base_.imagenet_small),
    )
)
