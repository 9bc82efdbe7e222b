_base_ = ["../_base_/mask_rcnn_uniformer.py", "../_base_/coco_3x_ms.py"]

model = dict(
    backbone=dict(
        arch="base",
        drop_path_rate=0.3,
        with_cp=(0, 0, 20, 0),
        init_cfg=dict(checkpoint=_base_.imagenet_base),
    )
)
