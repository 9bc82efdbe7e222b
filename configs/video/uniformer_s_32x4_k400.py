_base_ = ["../_base_/kinetics400.py"]

for split in ("train", "val", "test"):
    for pipeline in (_base_[f"{split}_pipeline"], _base_[f"{split}_dataloader"].dataset.pipeline):
        pipeline[1].update(clip_len=32, frame_interval=4)
del split, pipeline
