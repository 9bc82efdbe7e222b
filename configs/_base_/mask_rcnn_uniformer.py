_base_ = ["mmdet::_base_/models/mask-rcnn_r50_fpn.py", "./uniformer_s.py"]

model = dict(
    backbone=dict(_base_.pop("backbone"), attention="hybrid", window_size=14),
    neck=dict(in_channels=[64, 128, 320, 512]),
)
