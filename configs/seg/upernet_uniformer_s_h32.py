# For testing the checkpoint that upernet_uniformer_s_global.py trains.
_base_ = ["./upernet_uniformer_s_global.py"]

model = dict(backbone=dict(attention="hybrid", window_size=32))
