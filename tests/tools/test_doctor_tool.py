"""tools/doctor.py as a user runs it."""

import subprocess
import sys

import pytest
from running import ROOT, run_inside

from uniformer_mm.doctor.checks import OK, Check, Finding


def fail():
    raise RuntimeError("operator torchvision::nms does not exist")


@pytest.mark.parametrize(("run", "status"), [(lambda: Finding(OK), 0), (fail, 1)])
def test_the_exit_status_says_whether_a_check_failed(run, status, monkeypatch, capsys):
    check = Check("a check", run)
    monkeypatch.setattr("uniformer_mm.doctor.report.all_checks", lambda: iter([check]))
    assert run_inside("doctor.py") == status
    assert "a check" in capsys.readouterr().out


@pytest.mark.slow
def test_without_the_base_of_the_package_it_says_what_to_install(tmp_path):
    (tmp_path / "mmengine.py").write_text("raise ModuleNotFoundError(name='mmengine')")
    result = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "doctor.py")],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1, result.stderr
    assert result.stdout.splitlines()[-1] == "remedy: pip install mmengine"
