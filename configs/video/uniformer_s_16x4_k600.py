_base_ = ["../_base_/kinetics600.py"]

for split in ("train", "val", "test"):
    for pipeline in (_base_[f"{split}_pipeline"], _base_[f"{split}_dataloader"].dataset.pipeline):
        pipeline[1].update(clip_len=16, frame_interval=4)
del split, pipeline

train_dataloader = dict(batch_size=12)
optim_wrapper = dict(optimizer=dict(lr=0.0003))
auto_scale_lr = dict(base_batch_size=96)
