_base_ = ["./coco_keypoints.py"]

codec = dict(type="MSRAHeatmap", input_size=(288, 384), heatmap_size=(72, 96), sigma=3)

model = dict(head=dict(decoder=codec))
affine = dict(type="TopdownAffine", input_size=codec["input_size"])
train_pipeline = [
    *_base_.train_pipeline[:-3],
    affine,
    dict(type="GenerateTarget", encoder=codec),
    dict(type="PackPoseInputs"),
]
val_pipeline = [*_base_.val_pipeline[:-2], affine, dict(type="PackPoseInputs")]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
del affine
