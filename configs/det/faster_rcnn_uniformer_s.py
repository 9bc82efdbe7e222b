# No published result: for data with boxes and no masks. Settings are those of Mask R-CNN S.
_base_ = [
    "mmdet::_base_/models/faster-rcnn_r50_fpn.py",
    "../_base_/coco_1x.py",
    "../_base_/uniformer_s.py",
]

model = dict(
    backbone=dict(
        _base_.pop("backbone"),
        attention="hybrid",
        window_size=14,
        drop_path_rate=0.2,
        with_cp=(0, 0, 8, 0),
    ),
    neck=dict(in_channels=[64, 128, 320, 512]),
)

# As mmdet's coco_detection.py, which does not load masks.
train_pipeline = [
    dict(type="LoadImageFromFile", backend_args=None),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="Resize", scale=(1333, 800), keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile", backend_args=None),
    dict(type="Resize", scale=(1333, 800), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(metric=["bbox"])
test_evaluator = val_evaluator
