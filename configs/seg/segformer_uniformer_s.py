# No published result: an all-MLP decoder of 0.6 M parameters; the recipe is that of SegFormer.
_base_ = ["../_base_/segformer_uniformer.py", "../_base_/ade20k_160k.py"]

model = dict(backbone=dict(attention="hybrid", window_size=14, drop_path_rate=0.25))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10.0))))
