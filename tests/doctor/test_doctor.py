"""The report of a healthy installation has no failures; failures have causes and remedies."""

import sys
from pathlib import Path

import pytest
import torch

from uniformer_mm.checkpoints.zoo import MIM
from uniformer_mm.compat import REPAIRS, distributions, is_active
from uniformer_mm.compat.distributions import FORKS
from uniformer_mm.doctor import checks, environment, parity
from uniformer_mm.doctor.checks import ABSENT, FAILED, OK, Check, all_checks, run_check
from uniformer_mm.doctor.environment import (
    CODEBASES,
    conflicts,
    install_command,
    versions,
)
from uniformer_mm.doctor.remedies import UNKNOWN, explain
from uniformer_mm.doctor.report import anonymous, examine, paragraphs
from uniformer_mm.tasks import TASKS

UNFIT_TORCHVISION = RuntimeError("operator torchvision::nms does not exist")


def report():
    pieces = []
    return examine(pieces.append), "".join(pieces)


@pytest.fixture
def only(monkeypatch):
    """A function that replaces the checks."""

    def replace(*chosen):
        monkeypatch.setattr("uniformer_mm.doctor.report.all_checks", lambda: iter(chosen))

    return replace


def fails(error):
    def run():
        raise error

    return run


@pytest.mark.slow
@pytest.mark.stack
def test_a_healthy_installation_passes():
    is_healthy, text = report()
    assert is_healthy, text
    assert FAILED not in text
    lines = text.splitlines()
    for codebase in CODEBASES:
        assert any(line.split()[:4] == ["cpu:", "train", codebase.module, OK] for line in lines)
    assert sum("official code" in line for line in lines) == 3
    for repair in REPAIRS:
        name = repair.__name__.rpartition(".")[2]
        (line,) = (line for line in lines if line.split()[:1] == [name])
        assert line.endswith(".")
        assert (" not active " in line) != is_active(repair)
    assert torch.__version__ in text
    assert str(Path.home()) == "/" or str(Path.home()) not in text
    assert sys.prefix not in text


def test_a_failure_has_its_remedy_once(only):
    torchvision = Check("import torchvision", fails(UNFIT_TORCHVISION))
    other = Check("import mmseg", fails(UNFIT_TORCHVISION))
    only(torchvision, other, Check("train mmseg", fails(SystemError("never")), "import mmseg"))
    is_healthy, text = report()
    assert not is_healthy
    assert text.count("pip install --force-reinstall --no-deps 'torchvision==0.") == 1
    assert "as for: import torchvision" in text
    assert "needs: import mmseg" in text
    assert "never" not in text
    assert "2 of 3" in text.splitlines()[-1]


@pytest.mark.parametrize(
    ("error", "cause", "remedy"),
    [
        (
            ValueError("numpy.dtype size changed, Expected 96"),
            "numpy 1",
            "uninstall -y xtcocotools",
        ),
        (ImportError("libGL.so.1: cannot open shared object file"), "OpenCV", "libgl1"),
        (
            ImportError("/home/x/mmcv/_ext.so: undefined symbol: _ZN3c10"),
            "another torch",
            "pip install mmcv-lite==2.1.0",
        ),
        (
            AssertionError("MMCV==2.2.0 is used but incompatible. Please install mmcv<2.2.0."),
            "MMCV 2.2.0",
            "pip install mmcv-lite==2.1.0",
        ),
        (ModuleNotFoundError("No module named 'pkg_resources'"), "setuptools", "'setuptools<81'"),
        (ModuleNotFoundError("No module named 'mmdet.x'"), "mmdet.x", "'uniformer-mm[det]'"),
        (ModuleNotFoundError("No module named 'json_tricks'"), "json_tricks", "json-tricks"),
        (OSError(28, "No space left on device"), "temporary files", "TMPDIR"),
        (KeyError("gibberish"), "gibberish", UNKNOWN),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, Exception) else "",
)
def test_errors_of_the_stack_have_causes_and_remedies(error, cause, remedy):
    found = run_check(Check("check", fails(error)))
    assert found.state == FAILED
    assert cause in found.cause
    assert remedy in found.remedy


def test_the_first_of_chained_errors_is_the_cause():
    error = ValueError("the config cannot be built")
    error.__cause__ = UNFIT_TORCHVISION
    cause, remedy = explain(error)
    assert "torchvision" in remedy
    assert "operator torchvision::nms" in cause


def test_absent_codebases_are_not_failures(monkeypatch, only):
    absent = ("mmseg", "mmpose")
    for module in absent:
        monkeypatch.setitem(sys.modules, module, None)
    only(*[check for check in all_checks() if any(module in check.name for module in absent)])
    is_healthy, text = report()
    assert is_healthy
    assert text.count(ABSENT) == 2
    assert text.count("needs: import mm") == 2
    assert "pip install 'uniformer-mm[seg]'" in text


def test_without_mmcv_the_extra_for_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mmcv", None)
    assert install_command("det") == "pip install 'uniformer-mm[det,lite]'"
    monkeypatch.setattr(environment, "owners", lambda module: [])
    assert versions()["mmdet"].endswith(install_command("det"))


def test_wrong_ops_are_found(monkeypatch):
    extension = pytest.importorskip("mmcv._ext")
    assert checks.check_nms("cpu").state == OK
    assert checks.check_roi_align("cpu").state == OK
    right = extension.roi_align_forward

    def keep_all(boxes, scores, iou_threshold, offset):
        return torch.arange(len(boxes))

    def wrong(input, rois, output, *others, **options):
        right(input, rois, output, *others, **options)
        output.mul_(1.001)

    monkeypatch.setattr(extension, "nms", keep_all)
    monkeypatch.setattr(extension, "roi_align_forward", wrong)
    finding = checks.check_nms("cpu")
    assert finding.state == FAILED
    assert "[0, 1, 2] instead of [1, 0]" in finding.cause
    assert finding.remedy.startswith("pip install --force-reinstall")
    assert checks.check_roi_align("cpu").state == FAILED


def test_a_modified_backbone_is_found(monkeypatch):
    case = next(case for case in parity.SHIPPED_CASES if case["id"].startswith("light"))
    build = parity.build

    def build_modified(case):
        model = build(case)
        model.norm4.eps = 1e-2
        return model

    monkeypatch.setattr(parity, "build", build_modified)
    finding = checks.check_parity(case, "cpu")
    assert finding.state == FAILED
    assert "1e-04 is allowed" in finding.detail


@pytest.mark.stack
def test_a_training_step_without_effect_is_found(monkeypatch):
    pytest.importorskip("mmpretrain")
    from mmpretrain.models import ImageClassifier

    nan = {"loss": torch.tensor(float("nan"))}
    monkeypatch.setattr(ImageClassifier, "train_step", lambda *_: nan)
    (codebase,) = (codebase for codebase in CODEBASES if codebase.module == "mmpretrain")
    finding = checks.check_training(codebase, "cpu")
    assert finding.state == FAILED
    assert finding.detail.startswith("loss nan, ")


USED = ("MMCV", "MMEngine", "MMDetection")


def test_conflicting_distributions_are_noted(monkeypatch):
    installed = {"opencv-python": "4.11.0", "opencv-contrib-python": "4.10.0"}
    both = {"mmcv": ["mmcv", "mmcv-lite"]}
    monkeypatch.setattr(environment, "version_of", installed.get)
    monkeypatch.setattr(environment, "owners", lambda module: both.get(module, []))
    (mmcv, _), (_, opencv), *_ = conflicts()
    assert "mmcv-lite" in mmcv
    assert "opencv-python==4.10.0 opencv-contrib-python==4.10.0" in opencv


def test_no_remedy_installs_an_original_package_over_a_fork(monkeypatch):
    installed = {module: [fork] for module, fork in FORKS.items() if module != "mmdet"}
    for module in (environment, distributions):
        monkeypatch.setattr(module, "owners", lambda name: installed.get(name, []))
    commands = [
        *(install_command(base.extra) for base in CODEBASES),
        *(explain(AssertionError(f"{name}==9 is used but incompatible"))[1] for name in USED),
        *(explain(ModuleNotFoundError(f"No module named '{name}'"))[1] for name in FORKS),
        explain(ImportError("mmcv/_ext.so: undefined symbol: x"))[1],
    ]
    for command in commands:
        assert "onedl" in command or command.startswith("pip install --no-deps mm"), command
    assert versions()["mmdet"] == "not installed: pip install 'uniformer-mm[onedl]'"


def test_codebases_are_those_of_the_tasks():
    assert {base.module: base.extra for base in CODEBASES} == {
        scope: task.extra for scope, task in TASKS.items()
    }
    assert all((MIM / "configs" / base.config).is_file() for base in CODEBASES)


def test_shipped_outputs_are_small():
    path = Path(parity.__file__).with_name("official_outputs.json")
    assert path.stat().st_size < 20_000


def test_folders_of_users_are_left_out():
    text = f"{Path.home()}/x {torch.__file__} /home/someone/y C:\\Users\\someone\\z /root2/q"
    cleaned = anonymous(text)
    assert "someone" not in cleaned
    assert "<site-packages>/torch/__init__.py" in cleaned
    assert cleaned.endswith("/root2/q")


def test_causes_and_remedies_are_wrapped():
    lines = paragraphs("a cause " * 30, "a remedy").splitlines()
    assert all(len(line) <= 100 for line in lines)
    assert lines[0].split()[0] == "cause"
    assert lines[-1].split() == ["remedy", "a", "remedy"]
