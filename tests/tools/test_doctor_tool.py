"""tools/doctor.py as a user runs it."""

import subprocess
import sys

from running import ROOT, run_inside

from uniformer_mm.doctor.checks import Check
from uniformer_mm.doctor.findings import OK, Finding


def fail():
    raise RuntimeError("operator torchvision::nms does not exist")


def test_the_exit_status_says_whether_all_is_well(monkeypatch, capsys):
    check = Check("a check", lambda: Finding(OK))
    monkeypatch.setattr("uniformer_mm.doctor.examination.all_checks", lambda: iter([check]))
    assert run_inside("doctor.py") == 0
    assert "All is well" in capsys.readouterr().out
    broken = Check("another check", fail)
    monkeypatch.setattr("uniformer_mm.doctor.examination.all_checks", lambda: iter([broken]))
    assert run_inside("doctor.py") == 1
    assert "1 of 1 checks failed" in capsys.readouterr().out


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
