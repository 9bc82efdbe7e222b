_base_ = ["../_base_/mask_rcnn_uniformer.py", "../_base_/coco_1x.py"]

model = dict(
    backbone=dict(arch="base", drop_path_rate=0.3, init_cfg=dict(checkpoint=_base_.imagenet_base))
)
