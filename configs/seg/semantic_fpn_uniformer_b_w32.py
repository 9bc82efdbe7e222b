# For testing the checkpoint that semantic_fpn_uniformer_b_global.py trains.
_base_ = ["./semantic_fpn_uniformer_b_global.py"]

model = dict(backbone=dict(attention="window", window_size=32))
