_base_ = ["./uniformer_xxs_32x160_k400.py"]

for split in ("train", "val", "test"):
    for pipeline in (_base_[f"{split}_pipeline"], _base_[f"{split}_dataloader"].dataset.pipeline):
        pipeline[1].clip_len = 16
del split, pipeline
model = dict(backbone=dict(fp32_attention=True))
train_cfg = dict(val_interval=5)
