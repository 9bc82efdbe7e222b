"""mmengine finds packages without pkg_resources and uses it where it is installed."""

import importlib
import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from uniformer_mm import compat
from uniformer_mm.compat import pkg_resources_missing
from uniformer_mm.compat.stand_ins import pkg_resources as stand_in
from uniformer_mm.compat.supplying import STAND_INS

# As with setuptools 82: the ordinary finder does not find it.
HIDE_PKG_RESOURCES = """
from importlib.machinery import PathFinder
find_spec = PathFinder.find_spec
PathFinder.find_spec = staticmethod(
    lambda name, path=None, target=None:
        None if name == "pkg_resources" else find_spec(name, path, target)
)
"""


@pytest.mark.slow
def test_mmengine_finds_packages_without_pkg_resources(
    run_python: Callable, tmp_path: Path
) -> None:
    # A distribution whose module has another name, as mmcv-lite has.
    info = tmp_path / "renamed_package-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: renamed-package\nVersion: 1.5\n")
    (info / "top_level.txt").write_text("its_module\n")
    result = run_python(
        HIDE_PKG_RESOURCES + f"import json, sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from mmengine.utils import get_installed_path, is_installed\n"
        "try: is_installed('mmengine')\n"
        "except ModuleNotFoundError as error: broken = str(error)\n"
        "from uniformer_mm.compat import repair_stack; repair_stack()\n"
        "try: get_installed_path('not_installed'); missing = ''\n"
        "except Exception as error: missing = type(error).__name__\n"
        "print(json.dumps([broken, sys.modules['pkg_resources'].__file__,\n"
        "    is_installed('mmengine'), is_installed('not_installed'), missing,\n"
        "    get_installed_path('mmengine'), get_installed_path('renamed-package')]))\n"
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [
        "No module named 'pkg_resources'",
        str(STAND_INS / "pkg_resources.py"),
        True,
        False,
        "DistributionNotFound",
        str(Path(find_spec("mmengine").origin).parent),
        str(tmp_path / "its_module"),
    ]


def test_installed_pkg_resources_takes_precedence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compat.apply(pkg_resources_missing)
    monkeypatch.delitem(sys.modules, "pkg_resources", raising=False)
    (tmp_path / "pkg_resources.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert find_spec("pkg_resources").origin == str(tmp_path / "pkg_resources.py")


@pytest.mark.filterwarnings("ignore:pkg_resources is deprecated")
@pytest.mark.parametrize("name", ["mmengine", "mmcv-lite", "mmcv_lite", "uniformer-mm", "torch"])
def test_stand_in_answers_as_the_original(name: str) -> None:
    original = pytest.importorskip("pkg_resources")
    if not hasattr(original, "WorkingSet"):
        pytest.skip("setuptools has no pkg_resources")
    try:
        expected = original.get_distribution(name)
    except original.DistributionNotFound:
        with pytest.raises(stand_in.DistributionNotFound):
            stand_in.get_distribution(name)
        return
    found = stand_in.get_distribution(name)
    assert (found.version, found.location) == (expected.version, expected.location)
    for file in ("top_level.txt", "no_such_file.txt"):
        assert found.has_metadata(file) == expected.has_metadata(file)
        if expected.has_metadata(file):
            assert found.get_metadata(file) == expected.get_metadata(file)


def test_distribution_not_found_can_be_caught_after_a_reload() -> None:
    get_distribution = stand_in.get_distribution
    importlib.reload(stand_in)
    with pytest.raises(stand_in.DistributionNotFound, match="no-such-package"):
        get_distribution("no-such-package")


def test_pytest_accepts_the_stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pkg_resources", stand_in)
    monkeypatch.syspath_prepend(tmp_path)


def test_names_that_are_not_supplied_fail_as_imports() -> None:
    with pytest.raises(ImportError, match="iter_entry_points"):
        from uniformer_mm.compat.stand_ins.pkg_resources import iter_entry_points  # noqa: F401
    with pytest.raises(FileNotFoundError, match=r"no_such_file\.txt"):
        stand_in.get_distribution("torch").get_metadata("no_such_file.txt")
