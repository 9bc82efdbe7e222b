# No published result.
_base_ = ["./dino_4scale_uniformer_s.py"]

model = dict(backbone=dict(arch="base", drop_path_rate=0.3, with_cp=(0, 0, 20, 0)))
model["backbone"]["init_cfg"] = dict(checkpoint=_base_.imagenet_base)
