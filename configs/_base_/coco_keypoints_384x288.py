_base_ = ["./coco_keypoints.py"]

codec = dict(type="MSRAHeatmap", input_size=(288, 384), heatmap_size=(72, 96), sigma=3)

model = dict(head=dict(decoder=codec))
_base_.train_pipeline[-3].input_size = codec["input_size"]
_base_.train_pipeline[-2].encoder = codec
_base_.val_pipeline[-2:] = [_base_.train_pipeline[-3], _base_.train_pipeline[-1]]
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.val_pipeline))
test_dataloader = val_dataloader
