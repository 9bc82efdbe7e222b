"""Codebases can be imported with an mmcv that is newer than their assertion allows."""

import importlib
import sys

import pytest
from mmengine.utils import digit_version

from uniformer_mm import compat
from uniformer_mm.compat import mmcv_upper_bound, patching
from uniformer_mm.compat.patching import PatchingFinder

mmcv = pytest.importorskip("mmcv")
pytestmark = pytest.mark.stack


@pytest.fixture
def codebase(tmp_path, monkeypatch):
    """A codebase that takes no mmcv from 2.2.0 on, as mmdet 3.3.0."""
    monkeypatch.setattr(patching, "FINDER", PatchingFinder())
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(
        mmcv_upper_bound, "CONTEXTS", {"bounded": mmcv_upper_bound.accepted_version}
    )
    (tmp_path / "bounded.py").write_text(
        "import mmcv\nfrom mmengine.utils import digit_version\n"
        "assert digit_version(mmcv.__version__) < digit_version('2.2.0'), mmcv.__version__\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "bounded"
    sys.modules.pop("bounded", None)


@pytest.mark.parametrize("version", ["2.1.0", "2.2.0", "2.3.6", "3.0.0"])
def test_versions_that_work_are_accepted(version, codebase, monkeypatch):
    monkeypatch.setattr(mmcv, "__version__", version)
    if digit_version(version) > digit_version("2.1.0"):
        with pytest.raises(AssertionError, match=version):
            importlib.import_module(codebase)
    compat.apply(mmcv_upper_bound)
    if version == "3.0.0":
        with pytest.raises(AssertionError, match=version):
            importlib.import_module(codebase)
    else:
        importlib.import_module(codebase)
    assert mmcv.__version__ == version
    assert compat.is_active(mmcv_upper_bound) == (version in ("2.2.0", "2.3.6"))
