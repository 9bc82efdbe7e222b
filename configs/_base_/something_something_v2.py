_base_ = ["./something_something_v1.py"]

# The authors extracted 30 frames per second of videos that have 12.
for pipeline in (_base_.train_pipeline, _base_.val_pipeline, _base_.test_pipeline):
    pipeline[0].fps = 30
del pipeline

model = dict(backbone=dict(drop_path_rate=0.3))
data = dict(data_root="data/sthv2")
train_dataloader = dict(
    dataset=dict(ann_file="sthv2_train_list_videos.txt", pipeline=_base_.train_pipeline, **data)
)
val_dataloader = dict(
    dataset=dict(ann_file="sthv2_val_list_videos.txt", pipeline=_base_.val_pipeline, **data)
)
test_dataloader = dict(
    dataset=dict(ann_file="sthv2_val_list_videos.txt", pipeline=_base_.test_pipeline, **data)
)
del data

train_cfg = dict(max_epochs=50)
param_scheduler = dict(T_max=50)
