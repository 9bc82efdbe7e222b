# No published result: the actions of given person boxes, from the Kinetics-400 model. Data and head
# are those of mmaction2's SlowOnly, the optimizer's settings those of its VideoMAE.
_base_ = [
    "mmaction::detection/slowonly/slowonly_kinetics400-pretrained-r50_8xb16-4x16x1-20e_ava21-rgb.py",
    "../_base_/kinetics_weights.py",
]

custom_imports = dict(imports=["uniformer_mm", "uniformer_mm.video"], allow_failed_imports=False)

model = dict(
    init_cfg=None,
    backbone=dict(
        _delete_=True,
        type="mmengine.UniFormer",
        arch="small",
        dims=3,
        drop_path_rate=0.1,
        output_norm="layer",
        # The RoI extractor enlarges stage 4 to the 16 pixels per cell of stage 3.
        out_indices=(2, 3),
        init_cfg=dict(type="Pretrained", checkpoint=_base_.kinetics400_small),
    ),
    roi_head=dict(bbox_head=dict(in_channels=320 + 512)),
    data_preprocessor=dict(mean=[114.75, 114.75, 114.75], std=[57.375, 57.375, 57.375]),
)

for pipeline in (_base_.train_pipeline, _base_.val_pipeline):
    pipeline[0].update(clip_len=16, frame_interval=4)
del pipeline
data = dict(data_root="data/ava", data_prefix=dict(img="rawframes"))
train_dataloader = dict(
    batch_size=8,
    dataset=dict(pipeline=_base_.train_pipeline, ann_file="annotations/ava_train_v2.1.csv", **data),
)
val_dataloader = dict(
    dataset=dict(pipeline=_base_.val_pipeline, ann_file="annotations/ava_val_v2.1.csv", **data)
)
test_dataloader = val_dataloader
del data

optim_wrapper = dict(
    type="AmpOptimWrapper",
    loss_scale="dynamic",
    optimizer=dict(_delete_=True, type="AdamW", lr=1.25e-4, weight_decay=0.05),
    constructor="mmengine.LayerDecayConstructor",
    paramwise_cfg=dict(layer_decay_rate=0.75, norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(
        type="LinearLR",
        start_factor=0.1,
        by_epoch=True,
        begin=0,
        end=5,
        convert_to_iter_based=True,
    ),
    dict(
        type="CosineAnnealingLR",
        T_max=15,
        by_epoch=True,
        begin=5,
        end=20,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(base_batch_size=64)
default_hooks = dict(
    checkpoint=dict(max_keep_ckpts=2), visualization=dict(type="mmengine.DrawPredictionsHook")
)
