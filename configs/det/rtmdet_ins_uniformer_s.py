# No published result: neck and head are those of RTMDet-Ins-m, the schedule is that of mmdet's
# RTMDet with Swin.
_base_ = ["mmdet::rtmdet/rtmdet-ins_m_8xb32-300e_coco.py", "../_base_/uniformer_s.py"]

custom_imports = dict(imports=["uniformer_mm"], allow_failed_imports=False)

model = dict(
    # RGB, which the backbone was trained with.
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True
    ),
    backbone=dict(
        _base_.pop("backbone"),
        attention="hybrid",
        window_size=14,
        drop_path_rate=0.2,
        with_cp=(0, 0, 8, 0),
        out_indices=(1, 2, 3),
    ),
    neck=dict(in_channels=[128, 320, 512]),
)

train_dataloader = dict(batch_size=16)
auto_scale_lr = dict(base_batch_size=128)
optim_wrapper = dict(optimizer=dict(lr=0.001))
train_cfg = dict(max_epochs=100, dynamic_intervals=[(90, 1)])
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-5, by_epoch=False, begin=0, end=1000),
    dict(
        type="CosineAnnealingLR",
        eta_min=5e-5,
        begin=50,
        end=100,
        T_max=50,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
# The last epochs are without mosaics and mixed images.
custom_hooks = [
    _base_.custom_hooks[0],
    dict(
        type="PipelineSwitchHook",
        switch_epoch=90,
        switch_pipeline=_base_.train_pipeline_stage2,
    ),
]
