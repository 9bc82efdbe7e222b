"""The known warnings of the stack are hidden, and no others."""

import re
import sys
import warnings

import pytest

from uniformer_mm.compat import import_warnings

SITE = "/venv/lib/python3.12/site-packages"
PKG_RESOURCES = (
    "pkg_resources is deprecated as an API. See https://setuptools.pypa.io/en/latest/"
    "pkg_resources.html. The pkg_resources package is slated for removal as early as 2025-11-30."
)
FIND_LOADER = (
    "'pkgutil.find_loader' is deprecated and slated for removal in Python 3.14; use "
    "importlib.util.find_spec() instead"
)
BUILD_LOSS = (
    "``build_loss`` would be deprecated soon, please use ``mmseg.registry.MODELS.build()`` "
)
NON_IGNORE = "Default ``avg_non_ignore`` is False, if you would like to ignore the certain label"
METAINFO = 'The metainfo config file "configs/_base_/datasets/coco.py" does not exist. A matched'
THREADS = "Setting MKL_NUM_THREADS environment variable for each process to be 1 in default"
PIXEL_DATA = "The shape of value will convert from torch.Size([2, 3]) to torch.Size([1, 2, 3])"
ESCAPE = r"invalid escape sequence '\d'"
VQA = f"{SITE}/mmpretrain/evaluation/metrics/vqa"


def is_shown(message: str, category: type[Warning], module: str) -> bool:
    """Whether a warning gets through, with every filter but the repair's removed."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        import_warnings.apply()
        warnings.warn_explicit(message, category, f"{module}.py", 1, module=module)
    return bool(shown)


@pytest.mark.parametrize(
    ("message", "category", "module"),
    [
        (PKG_RESOURCES, UserWarning, "mmengine.utils.package_utils"),
        (FIND_LOADER, DeprecationWarning, "mmengine.utils.dl_utils.misc"),
        (FIND_LOADER, DeprecationWarning, "mmcv.utils.ext_loader"),
        (BUILD_LOSS, UserWarning, "mmseg.models.builder"),
        (NON_IGNORE, UserWarning, "mmseg.models.losses.cross_entropy_loss"),
        (PIXEL_DATA, UserWarning, "mmengine.structures.pixel_data"),
        (THREADS, UserWarning, "mmengine.utils.dl_utils.setup_env"),
        (METAINFO, UserWarning, "mmpose.datasets.datasets.utils"),
        (ESCAPE, SyntaxWarning, VQA),
        (ESCAPE, DeprecationWarning, VQA),
        (ESCAPE, SyntaxWarning, VQA.replace("/", "\\")),
    ],
)
def test_known_warning_is_hidden_and_nothing_else(
    message: str, category: type[Warning], module: str
) -> None:
    assert not is_shown(message, category, module)
    assert is_shown(message, category, "someone_elses.module")
    assert is_shown("something else is deprecated", category, module)
    assert is_shown(message, RuntimeWarning, module)


@pytest.mark.parametrize("package", ["mmdet", "someone_elses"])
def test_compiler_reports_escapes_only_outside_the_stack(package: str) -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        import_warnings.apply()
        compile(r"'\d'", f"{SITE}/{package}/module.py", "exec")
    assert len(shown) == (package != "mmdet")


def test_mmengine_really_warns_about_pkg_resources() -> None:
    """The entry is still needed and its module is the one Python reports."""
    pkg_resources = pytest.importorskip("pkg_resources")
    if not hasattr(pkg_resources, "WorkingSet"):
        pytest.skip("setuptools has no pkg_resources")
    from mmengine.utils.package_utils import get_installed_path

    sys.modules.pop("pkg_resources")
    try:
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            get_installed_path("mmengine")
        messages = [str(warning.message) for warning in shown]
        assert any(re.match(import_warnings.KNOWN_WARNINGS[0][1], text) for text in messages)
        sys.modules.pop("pkg_resources")
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            import_warnings.apply()
            get_installed_path("mmengine")
        assert not any("pkg_resources is deprecated" in str(warning.message) for warning in shown)
    finally:
        sys.modules["pkg_resources"] = pkg_resources
