_base_ = ["../_base_/mask_rcnn_uniformer.py", "../_base_/coco_3x_ms.py"]

model = dict(backbone=dict(drop_path_rate=0.1, with_cp=(0, 0, 8, 0)))
