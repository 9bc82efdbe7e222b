# For testing the checkpoint that upernet_uniformer_b_global.py trains.
_base_ = ["./upernet_uniformer_b_global.py"]

model = dict(backbone=dict(attention="window", window_size=32))
