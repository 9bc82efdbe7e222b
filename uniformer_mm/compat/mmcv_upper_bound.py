"""mmdet, mmseg, mmaction2 and mmpretrain refuse versions of mmcv that they work with.

Defect: their `__init__` asserts an mmcv below the version that was next when they were released.
Versions: mmdet 3.3.0, mmseg 1.2.2 and mmaction2 1.2.0 (mmcv < 2.2.0) and mmpretrain 1.2.0
    (mmcv < 2.4.0) with mmcv 2.2.0 and its fork onedl-mmcv 2.3.
Shows as: `AssertionError: MMCV==2.2.0 is used but incompatible. Please install mmcv>=2.0.0rc4,
    <2.2.0`.
Repair: while they are imported, an mmcv from 2.2.0 to below 3 states 2.1.0 as its version.
Upstream: https://github.com/open-mmlab/mmdetection/issues/12008,
    https://github.com/open-mmlab/mmcv/issues/3096
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from mmengine.utils import digit_version

ACCEPTED = "2.1.0"
"""A version that all of them accept."""

TRIED = ("2.2.0", "3.0.0")
"""Versions from the first to below the second one are known to work."""


@contextmanager
def accepted_version() -> Iterator[None]:
    """Let mmcv state a version that the codebases accept, if its own is known to work."""
    import mmcv

    version = mmcv.__version__
    if _is_tried(version):
        mmcv.__version__ = ACCEPTED
    try:
        yield
    finally:
        mmcv.__version__ = version


def is_active() -> bool:
    """Whether mmcv is of such a version."""
    if find_spec("mmcv") is None:
        return False
    import mmcv

    return _is_tried(mmcv.__version__)


def _is_tried(version: str) -> bool:
    first, end = map(digit_version, TRIED)
    return bool(first <= digit_version(version) < end)


CONTEXTS = dict.fromkeys(("mmdet", "mmseg", "mmaction", "mmpretrain"), accepted_version)
