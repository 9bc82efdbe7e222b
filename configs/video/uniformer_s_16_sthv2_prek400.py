_base_ = ["../_base_/something_something_v2.py"]
