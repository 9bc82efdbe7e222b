_base_ = ["../_base_/semantic_fpn_uniformer.py", "../_base_/ade20k_80k.py"]

model = dict(backbone=dict(attention="hybrid", window_size=14, drop_path_rate=0.1))
