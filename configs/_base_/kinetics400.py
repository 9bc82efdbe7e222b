# UniFormer-S on Kinetics-400; configs of other archs, clips and datasets derive from it.
_base_ = ["./video_schedule.py"]

model = dict(
    type="Recognizer3D",
    backbone=dict(
        type="mmengine.UniFormer",
        arch="small",
        dims=3,
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint=_base_.imagenet_small),
    ),
    cls_head=dict(
        type="I3DHead",
        in_channels=512,
        num_classes=400,
        dropout_ratio=0.0,
        init_std=0.02,
        label_smooth_eps=0.1,
        average_clips="score",  # logits of all views
    ),
    data_preprocessor=dict(
        type="ActionDataPreprocessor",
        mean=[114.75, 114.75, 114.75],
        std=[57.375, 57.375, 57.375],
        format_shape="NCTHW",
        blending=dict(
            type="mmengine.MixClips",
            num_classes=400,
            mixup_alpha=0.8,
            cutmix_alpha=1.0,
            cutmix_prob=0.5,
        ),
    ),
)

# Configs set the clip of all three pipelines, of the dataloaders and of the top level.
clip = dict(type="mmengine.SampleWindow", clip_len=8, frame_interval=8)
pack = [
    dict(type="FormatShape", input_format="NCTHW"),
    dict(type="PackActionInputs", meta_keys=("img_shape", "filename")),
]
train_pipeline = [
    dict(type="mmengine.VideoReaderInit"),
    clip,
    dict(type="mmengine.VideoReaderDecode"),
    dict(type="mmengine.ClipRandAugment", magnitude=7, num_ops=4, magnitude_std=0.5),
    dict(type="RandomResizedCrop", area_range=(0.08, 1.0), aspect_ratio_range=(0.75, 1.3333)),
    dict(type="Resize", scale=(224, 224), keep_ratio=False),
    dict(type="Flip", flip_ratio=0.5),
    # Noise that is standard normal once it is normalised; the same region in all frames.
    dict(type="RandomErasing", erase_prob=0.25, mode="rand", fill_color=114.75, fill_std=57.375),
    *pack,
]
val_pipeline = [
    dict(type="mmengine.VideoReaderInit"),
    dict(clip, test_mode=True),
    dict(type="mmengine.VideoReaderDecode"),
    dict(type="Resize", scale=(-1, 224)),
    dict(type="CenterCrop", crop_size=224),
    *pack,
]
test_pipeline = [
    dict(type="mmengine.VideoReaderInit"),
    dict(clip, num_clips=4, test_mode=True),
    *val_pipeline[2:],
]

# Two samples per video: the same frames, augmented differently.
train_dataloader = dict(
    batch_size=4,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    collate_fn=dict(type="repeat_pseudo_collate"),
    dataset=dict(
        type="mmengine.CheckedRepeatAugDataset",
        num_repeats=2,
        sample_once=True,
        num_classes=400,
        data_root="data/kinetics400",
        ann_file="kinetics400_train_list_videos.txt",
        data_prefix=dict(video="videos_train"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="mmengine.CheckedVideoDataset",
        test_mode=True,
        num_classes=400,
        data_root="data/kinetics400",
        ann_file="kinetics400_val_list_videos.txt",
        data_prefix=dict(video="videos_val"),
        pipeline=val_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=4,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(val_dataloader["dataset"], pipeline=test_pipeline),
)
del clip, pack
