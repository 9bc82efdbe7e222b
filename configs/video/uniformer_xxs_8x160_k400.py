_base_ = ["./uniformer_xxs_32x160_k400.py"]

for split in ("train", "val", "test"):
    for pipeline in (_base_[f"{split}_pipeline"], _base_[f"{split}_dataloader"].dataset.pipeline):
        pipeline[1].clip_len = 8
del split, pipeline
model = dict(backbone=dict(fp32_attention=True))
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=4e-4))
