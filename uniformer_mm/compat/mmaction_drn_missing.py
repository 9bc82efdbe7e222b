"""`mmaction.models.localizers.drn` is missing from the wheel of mmaction2.

Defect: `mmaction/models/localizers/__init__.py` imports a package that was left out of the wheel,
    so nothing in `mmaction.models` can be imported.
Versions: mmaction2 1.2.0 from a package index; a source checkout has the package.
Shows as: `ModuleNotFoundError: No module named 'mmaction.models.localizers.drn'`.
Repair: a stand-in whose DRN can be imported and registered, and says what is missing when built.
Upstream: https://github.com/open-mmlab/mmaction2/issues/2714
"""

STAND_INS = {"mmaction.models.localizers.drn": "mmaction_drn/__init__.py"}
