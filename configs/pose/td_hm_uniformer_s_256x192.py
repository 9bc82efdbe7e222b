_base_ = ["../_base_/coco_keypoints.py"]
