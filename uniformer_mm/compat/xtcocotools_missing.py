"""`xtcocotools`, which mmpose needs, has wheels for few Python versions.

Defect: the wheels of xtcocotools are for Python < 3.12 and numpy 1; its source distribution needs
    a compiler, and does not build on Python 3.13. mmpose imports it in every COCO-style dataset
    and metric.
Versions: xtcocotools <= 1.14.3 with mmpose <= 1.3.2.
Shows as: `ModuleNotFoundError: No module named 'xtcocotools'`.
Repair: a stand-in over pycocotools, which has wheels for all of them: `COCO`, `mask`, and
    `COCOeval` with its keypoint types, `sigmas` and `use_area`.
Upstream: https://github.com/jin-s13/xtcocoapi/issues/43,
    https://github.com/open-mmlab/mmpose/issues/282
"""

STAND_INS = {"xtcocotools": "xtcocotools/__init__.py"}
