_base_ = ["../_base_/something_something_v2.py"]

for split in ("train", "val", "test"):
    for pipeline in (_base_[f"{split}_pipeline"], _base_[f"{split}_dataloader"].dataset.pipeline):
        pipeline[1].clip_len = 32
del split, pipeline
