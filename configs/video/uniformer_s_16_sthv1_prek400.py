_base_ = ["../_base_/something_something_v1.py"]
