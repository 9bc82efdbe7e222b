_base_ = ["./imagenet.py"]

# The authors trained tokens with labels that NFNet-F6 had made of every image. Without these,
# tokens have the label of the image that they come from, and less is to be expected.
model = dict(
    head=dict(
        type="TokenLabelingHead",
        num_classes=1000,
        in_channels=512,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
    )
)
data_preprocessor = dict(type="MixTokenDataPreprocessor")

# Images are augmented before they are cropped, with one of two interpolations.
augment = dict(
    type="RandAugment",
    policies="timm_increasing",
    num_policies=2,
    total_level=10,
    magnitude_level=9,
    magnitude_std=0.5,
)
pad_val = [104, 116, 124]
crop = dict(type="RandomResizedCrop", scale=224, backend="pillow")
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(
        type="RandomChoice",
        transforms=[
            [
                dict(augment, hparams=dict(pad_val=pad_val, interpolation=interpolation)),
                dict(crop, interpolation=interpolation),
            ]
            for interpolation in ("bilinear", "bicubic")
        ],
    ),
    dict(
        type="RandomErasing",
        erase_prob=0.25,
        mode="rand",
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        fill_color=_base_.bgr_mean,
        fill_std=_base_.bgr_std,
    ),
    dict(type="PackInputs"),
]
del augment, pad_val, crop
# The authors' cut is 0.9 of the resized image. They normalised with the mean and deviation of their
# version of timm: ImageNet's, as here, or in later ones 0.5.
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=248, edge="short", backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=224),
    dict(type="PackInputs"),
]
train_dataloader = dict(num_workers=8, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=128, num_workers=8, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

# 300 epochs of the cosine, and 10 at its end.
train_cfg = dict(max_epochs=310)
optim_wrapper = dict(optimizer=dict(lr=1.6e-3))
param_scheduler = [
    dict(type="mmengine.WarmupCosineLR", T_max=300, warmup=5, warmup_lr=1e-6, eta_min=1e-5)
]

# Here the moving average is what is evaluated.
custom_hooks = [
    dict(
        type="EMAHook",
        momentum=8e-5,  # 1 - 0.99992
        update_buffers=True,
        priority="ABOVE_NORMAL",
    )
]
