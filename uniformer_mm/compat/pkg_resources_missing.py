"""`pkg_resources`, which mmengine imports, is gone from setuptools.

Defect: `mmengine.utils.is_installed` and `get_installed_path` import `pkg_resources`; every config
    that inherits from another package (`_base_ = ['mmdet::...']`) passes through them.
Versions: mmengine <= 0.10.7 with setuptools >= 82.
Shows as: `ModuleNotFoundError: No module named 'pkg_resources'`.
Repair: a stand-in with the few names that mmengine uses, on top of `importlib.metadata`. It helps
    where this package is imported before the config is read. A config's `custom_imports` come too
    late for its own `_base_`: under the codebases' tools `setuptools<81` remains the remedy.
Upstream: https://github.com/open-mmlab/mmengine/pull/1676,
    https://github.com/open-mmlab/mmcv/issues/3325
"""

STAND_INS = {"pkg_resources": "pkg_resources.py"}
