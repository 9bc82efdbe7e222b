_base_ = ["mmseg::_base_/models/segformer_mit-b0.py", "./uniformer_s.py"]

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    backbone=_base_.pop("backbone"),
    decode_head=dict(in_channels=[64, 128, 320, 512], num_classes=150),
)
