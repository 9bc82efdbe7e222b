_base_ = ["./something_something_v1.py"]

train_dataloader = dict(
    dataset=dict(data_root="data/sthv2", ann_file="sthv2_train_list_videos.txt")
)
val_dataloader = dict(dataset=dict(data_root="data/sthv2", ann_file="sthv2_val_list_videos.txt"))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=50)
param_scheduler = dict(T_max=50)
