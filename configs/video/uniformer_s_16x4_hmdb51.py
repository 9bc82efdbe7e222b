_base_ = ["./uniformer_s_16x4_ucf101.py"]

model = dict(
    cls_head=dict(num_classes=51),
    data_preprocessor=dict(blending=dict(num_classes=51)),
)
data = dict(num_classes=51, data_root="data/hmdb51")
train_dataloader = dict(dataset=dict(ann_file="hmdb51_train_split_1_videos.txt", **data))
val_dataloader = dict(dataset=dict(ann_file="hmdb51_val_split_1_videos.txt", **data))
test_dataloader = val_dataloader
del data
