_base_ = ["mmdet::_base_/models/mask-rcnn_r50_fpn.py"]

model = dict(
    backbone=dict(
        _delete_=True, type="mmengine.UniFormer", dims=2, attention="hybrid", window_size=14
    ),
    neck=dict(in_channels=[64, 128, 320, 512]),
)
