# No published result: the recipe is mmdet's for ResNet-50.
_base_ = ["mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py", "../_base_/uniformer_s.py"]

custom_imports = dict(imports=["uniformer_mm"], allow_failed_imports=False)

model = dict(
    # The backbone rounds sizes down: without padding, its cells would not be of 32 pixels.
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(
        _base_.pop("backbone"),
        attention="hybrid",
        window_size=14,
        drop_path_rate=0.2,
        out_indices=(1, 2, 3),
    ),
    neck=dict(in_channels=[128, 320, 512]),
)
