_base_ = ["../_base_/upernet_uniformer.py", "../_base_/ade20k_160k.py"]

model = dict(backbone=dict(attention="global", drop_path_rate=0.25))
