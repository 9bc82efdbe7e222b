_base_ = ["./uniformer_xxs_4x128_k400.py"]

for split in ("train", "val", "test"):
    for pipeline in (_base_[f"{split}_pipeline"], _base_[f"{split}_dataloader"].dataset.pipeline):
        pipeline[1].clip_len = 8
del split, pipeline
train_dataloader = dict(batch_size=64)
