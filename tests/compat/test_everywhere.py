"""Programs that do not import this package run with the stack repaired."""

import json
import subprocess
import sys

import pytest

from uniformer_mm.compat import everywhere
from uniformer_mm.compat.supplying import STAND_INS
from uniformer_mm.errors import UserError

pytestmark = pytest.mark.slow

PROGRAM = """
import json, sys
before = [name for name in ("torch", "mmengine", "uniformer_mm") if name in sys.modules]
import mmdet, mmcv._ext
print(json.dumps([before, mmcv._ext.__file__, sys.argv, __name__]))
"""


@pytest.fixture
def program(tmp_path):
    pytest.importorskip("mmdet")
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path / "program.py"


BY_THE_PACKAGE = "import runpy; runpy.run_module('uniformer_mm', run_name='__main__')"


def test_a_program_runs_by_the_package(program, run_python):
    result = run_python(BY_THE_PACKAGE, str(program), "--option", "1")
    assert result.returncode == 0, result.stderr
    _, file, argv, name = json.loads(result.stdout)
    assert argv == [str(program), "--option", "1"]
    assert name == "__main__"
    if "compiled" not in file:
        assert file == str(STAND_INS / "mmcv_ext" / "__init__.py")


def test_a_module_runs_by_the_package(run_python):
    result = run_python(BY_THE_PACKAGE, "-m", "json.tool", "--help")
    assert result.returncode == 0
    assert "usage:" in result.stdout


def test_a_script_that_does_not_exist_is_named(tmp_path, run_python):
    result = run_python(BY_THE_PACKAGE, str(tmp_path / "absent.py"))
    assert result.returncode == 1
    assert str(tmp_path / "absent.py") in result.stderr
    assert "Traceback" not in result.stderr


def test_every_program_is_repaired_once_it_is_enabled(program, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    everywhere.enable(site)
    assert everywhere.is_enabled(site)
    start = f"import site, runpy; site.addsitedir({str(site)!r}); runpy.run_path({str(program)!r})"
    result = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    before, file, *_ = json.loads(result.stdout)
    assert before == [], "starting Python imports nothing of the stack"
    assert file
    everywhere.disable(site)
    assert not any(path.exists() for path in everywhere.files(site))
    everywhere.disable(site)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UserError, match="absent"):
        everywhere.enable(tmp_path / "absent")
