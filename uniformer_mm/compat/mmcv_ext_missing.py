"""`mmcv._ext`, the compiled extension of mmcv, is missing from mmcv-lite.

Defect: mmcv-lite ships `mmcv/ops/*.py`, which load `mmcv._ext` when imported, but not the
    extension; mmdet and packages that depend on it import `mmcv.ops`. There is no compiled wheel of
    mmcv for a recent torch.
Versions: mmcv-lite 2.x (seen with 2.1.0).
Shows as: `ModuleNotFoundError: No module named 'mmcv._ext'` from `import mmdet`.
Repair: a stand-in with the ops that stock models call, by torchvision and plain PyTorch. A
    compiled extension takes precedence; a broken one still fails with its own error.
Upstream: https://github.com/open-mmlab/mmcv/issues/2059,
    https://github.com/open-mmlab/mmdetection/issues/11475
"""

STAND_INS = {"mmcv._ext": "mmcv_ext/__init__.py"}
