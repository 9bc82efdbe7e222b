_base_ = ["mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py", "./uniformer_s.py"]

# Heads of four convolutions and one linear layer; boxes are decoded before their GIoU loss.
bbox_head = dict(
    type="ConvFCBBoxHead",
    num_shared_convs=4,
    num_shared_fcs=1,
    in_channels=256,
    conv_out_channels=256,
    fc_out_channels=1024,
    roi_feat_size=7,
    num_classes=80,
    reg_class_agnostic=False,
    reg_decoded_bbox=True,
    norm_cfg=dict(type="SyncBN", requires_grad=True),
    loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
    loss_bbox=dict(type="GIoULoss", loss_weight=10.0),
)
coder = dict(type="DeltaXYWHBBoxCoder", target_means=[0.0, 0.0, 0.0, 0.0])

model = dict(
    backbone=dict(_base_.pop("backbone"), attention="hybrid", window_size=14),
    neck=dict(in_channels=[64, 128, 320, 512]),
    roi_head=dict(
        bbox_head=[
            dict(bbox_head, bbox_coder=dict(coder, target_stds=[0.1, 0.1, 0.2, 0.2])),
            dict(bbox_head, bbox_coder=dict(coder, target_stds=[0.05, 0.05, 0.1, 0.1])),
            dict(bbox_head, bbox_coder=dict(coder, target_stds=[0.033, 0.033, 0.067, 0.067])),
        ]
    ),
)
del bbox_head, coder
