"""mmaction2 can be imported without DRN, and keeps its own."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from uniformer_mm import compat
from uniformer_mm.compat import mmaction_drn_missing
from uniformer_mm.compat.supplying import STAND_INS


@pytest.mark.slow
def test_mmaction_models_import_and_drn_says_what_is_missing(all_codebases: dict[str, str]) -> None:
    if all_codebases["drn_file"] != str(STAND_INS / "mmaction_drn" / "__init__.py"):
        pytest.skip("mmaction2 has DRN")
    assert "DRN is missing from the wheel of mmaction2 1.2.0" in all_codebases["drn_error"]


def test_complete_mmaction_keeps_its_own_drn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compat.apply(mmaction_drn_missing)
    # A stub of the packages above DRN is enough: only the search order matters.
    package = tmp_path / "mmaction" / "models" / "localizers" / "drn"
    package.mkdir(parents=True)
    for folder in (package, *list(package.parents)[:3]):
        (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with monkeypatch.context() as patch:
        for name in [name for name in sys.modules if name.split(".")[0] == "mmaction"]:
            patch.delitem(sys.modules, name)
        origin = find_spec("mmaction.models.localizers.drn").origin
        for name in [name for name in sys.modules if name.split(".")[0] == "mmaction"]:
            del sys.modules[name]
    assert origin == str(package / "__init__.py")
