_base_ = ["./uniformer_s_16x4_ucf101.py"]

_base_.train_pipeline[3].as_bgr = True

model = dict(
    # The authors' model has as many outputs as UCF101 has classes.
    cls_head=dict(type="SpareOutputsHead", num_classes=51, spare_outputs=50),
    # It sees BGR, see ../_base_/something_something_v1.py.
    data_preprocessor=dict(to_rgb=True, blending=dict(num_classes=51)),
)
data = dict(num_classes=51, data_root="data/hmdb51")
train_dataloader = dict(
    dataset=dict(ann_file="hmdb51_train_split_1_videos.txt", pipeline=_base_.train_pipeline, **data)
)
val_dataloader = dict(dataset=dict(ann_file="hmdb51_val_split_1_videos.txt", **data))
test_dataloader = val_dataloader
del data
