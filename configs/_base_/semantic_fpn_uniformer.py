_base_ = ["mmseg::_base_/models/fpn_r50.py", "./uniformer_s.py"]

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    pretrained=None,
    backbone=_base_.pop("backbone"),
    neck=dict(in_channels=[64, 128, 320, 512]),
    decode_head=dict(num_classes=150),
)
