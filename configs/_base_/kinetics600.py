_base_ = ["./kinetics400.py"]

model = dict(
    cls_head=dict(num_classes=600),
    data_preprocessor=dict(blending=dict(num_classes=600)),
)
data = dict(num_classes=600, data_root="data/kinetics600")
train_dataloader = dict(dataset=dict(ann_file="kinetics600_train_list_videos.txt", **data))
val_dataloader = dict(dataset=dict(ann_file="kinetics600_val_list_videos.txt", **data))
test_dataloader = val_dataloader
del data
