# No published result: the recipe is ours, after ViTDet's (arXiv 2203.16527).
_base_ = ["../_base_/mask_rcnn_uniformer.py", "../_base_/coco_lsj.py"]

model = dict(backbone=dict(drop_path_rate=0.2, with_cp=(0, 0, 8, 0)))
