_base_ = ["../_base_/coco_keypoints_384x288.py"]
