"""The doctor finds a healthy installation healthy, and of a broken one says why, and what to do."""

import json
import sys
from pathlib import Path

import pytest
import torch

from uniformer_mm.checkpoints.zoo import MIM
from uniformer_mm.compat import REPAIRS
from uniformer_mm.doctor import checks, environment, parity
from uniformer_mm.doctor.checks import Check, all_checks, run_check
from uniformer_mm.doctor.codebases import CODEBASES, install_command
from uniformer_mm.doctor.environment import conflicts, repairs, versions
from uniformer_mm.doctor.examination import examine
from uniformer_mm.doctor.findings import ABSENT, FAILED, OK, Finding, anonymous
from uniformer_mm.doctor.remedies import REPORT, explain
from uniformer_mm.tasks import TASKS

UNFIT_TORCHVISION = RuntimeError("operator torchvision::nms does not exist")


def report():
    pieces = []
    return examine(pieces.append), "".join(pieces)


@pytest.fixture
def only(monkeypatch):
    """A function that leaves the doctor only some checks."""

    def leave(*chosen):
        monkeypatch.setattr("uniformer_mm.doctor.examination.all_checks", lambda: iter(chosen))

    return leave


def fails(error):
    def run():
        raise error

    return run


def test_a_healthy_installation_is_found_healthy():
    is_healthy, text = report()
    assert is_healthy, text
    assert FAILED not in text
    lines = text.splitlines()
    for codebase in CODEBASES:
        if codebase.is_installed:
            assert any(line.split()[:4] == ["cpu:", "train", codebase.module, OK] for line in lines)
    assert sum("differs from the official code by" in line for line in lines) == 3
    assert sum(repair.__name__.rpartition(".")[2] in text for repair in REPAIRS) == len(REPAIRS)
    assert torch.__version__ in text
    assert lines[-1].startswith("All is well: ")
    assert str(Path.home()) == "/" or str(Path.home()) not in text
    assert sys.prefix not in text


def test_a_fault_is_told_with_its_remedy_and_once(only):
    torchvision = Check("import torchvision", fails(UNFIT_TORCHVISION))
    other = Check("import mmseg", fails(UNFIT_TORCHVISION))
    only(torchvision, other, Check("train mmseg", fails(SystemError("never")), "import mmseg"))
    is_healthy, text = report()
    assert not is_healthy
    assert "a CPU build of one does not fit a CUDA build of the" in text
    assert text.count("pip install --force-reinstall --no-deps 'torchvision==0.") == 1
    assert "as for: import torchvision" in text
    assert "needs: import mmseg" in text
    assert "never" not in text
    assert text.endswith("2 of 3 checks failed: causes and remedies are above.\n")


@pytest.mark.parametrize(
    ("error", "cause", "remedy"),
    [
        (
            ValueError("numpy.dtype size changed, Expected 96"),
            "compiled for another",
            "pip uninstall -y xtcocotools",
        ),
        (ImportError("libGL.so.1: cannot open shared object file"), "OpenCV", "libgl1"),
        (
            ImportError("/home/x/mmcv/_ext.so: undefined symbol: _ZN3c10"),
            "made for another torch",
            "pip install mmcv-lite==2.1.0",
        ),
        (
            AssertionError("MMCV==2.2.0 is used but incompatible. Please install mmcv<2.2.0."),
            "MMCV 2.2.0 is a version that the codebase refuses",
            "pip install mmcv-lite==2.1.0",
        ),
        (ModuleNotFoundError("No module named 'pkg_resources'"), "setuptools", "'setuptools<81'"),
        (ModuleNotFoundError("No module named 'mmdet.x'"), "mmdet.x", "'uniformer-mm[det]'"),
        (ModuleNotFoundError("No module named 'json_tricks'"), "json_tricks", "json-tricks"),
        (OSError(28, "No space left on device"), "temporary files", "TMPDIR"),
        (KeyError("gibberish"), "gibberish", REPORT),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, Exception) else "",
)
def test_errors_of_the_stack_have_causes_and_remedies(error, cause, remedy):
    found = run_check(Check("check", fails(error)))
    assert found.state == FAILED
    assert cause in found.cause
    assert remedy in found.remedy


def test_the_first_of_chained_errors_is_the_cause():
    try:
        try:
            raise UNFIT_TORCHVISION
        except RuntimeError as error:
            raise ValueError("the config cannot be built") from error
    except ValueError as error:
        cause, remedy = explain(error)
    assert "torchvision" in remedy
    assert "operator torchvision::nms" in cause


def test_what_is_not_installed_is_no_failure(monkeypatch, only):
    absent = ("mmseg", "mmpose")
    for module in absent:
        monkeypatch.setitem(sys.modules, module, None)
    chosen = [check for check in all_checks() if any(module in check.name for module in absent)]
    only(*chosen)
    is_healthy, text = report()
    assert is_healthy
    assert text.count(ABSENT) == 2
    assert text.count("needs: import mm") == 2
    assert "pip install 'uniformer-mm[seg]'" in text


def test_without_mmcv_the_extra_for_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mmcv", None)
    assert install_command("det") == "pip install 'uniformer-mm[det,lite]'"
    monkeypatch.setattr(environment, "version_of", lambda name: None)
    assert versions()["mmdet"] == f"not installed: {install_command('det')}"


def test_a_wrong_nms_is_found(monkeypatch):
    extension = pytest.importorskip("mmcv._ext")
    assert checks.check_nms("cpu").state == OK
    keep_all = lambda boxes, scores, iou_threshold, offset: torch.arange(len(boxes))  # noqa: E731
    monkeypatch.setattr(extension, "nms", keep_all)
    finding = checks.check_nms("cpu")
    assert finding.state == FAILED
    assert "kept the boxes [0, 1, 2] instead of [1, 0]" in finding.cause
    assert finding.remedy.startswith("pip install --force-reinstall")


def test_a_wrong_roi_align_is_found(monkeypatch):
    extension = pytest.importorskip("mmcv._ext")
    assert checks.check_roi_align("cpu").state == OK
    right = extension.roi_align_forward

    def wrong(input, rois, output, *others, **options):
        right(input, rois, output, *others, **options)
        output.mul_(1.001)

    monkeypatch.setattr(extension, "roi_align_forward", wrong)
    assert checks.check_roi_align("cpu").state == FAILED


def test_a_changed_backbone_is_found(monkeypatch):
    case = next(case for case in parity.SHIPPED_CASES if case["id"].startswith("light"))
    build = parity.build

    def build_changed(case):
        model = build(case)
        model.norm4.eps = 1e-2
        return model

    monkeypatch.setattr(parity, "build", build_changed)
    finding = checks.check_parity(case, "cpu")
    assert finding.state == FAILED
    assert "1e-04 is allowed" in finding.detail


def test_a_training_step_that_changes_nothing_is_found(monkeypatch):
    pytest.importorskip("mmpretrain")
    from mmpretrain.models import ImageClassifier

    monkeypatch.setattr(
        ImageClassifier, "train_step", lambda *_: {"loss": torch.tensor(float("nan"))}
    )
    codebase = next(codebase for codebase in CODEBASES if codebase.module == "mmpretrain")
    finding = checks.check_training(codebase, "cpu")
    assert finding.state == FAILED
    assert finding.detail.startswith("loss nan, ")


def test_two_versions_of_opencv_and_two_mmcvs_are_noted(monkeypatch):
    installed = {"mmcv": "2.1.0", "mmcv-lite": "2.1.0", "opencv-python": "4.11.0"}
    installed["opencv-contrib-python"] = "4.10.0"
    monkeypatch.setattr(environment, "version_of", installed.get)
    mmcv, opencv, *_ = conflicts()
    assert "overwrite each other's files" in mmcv.cause
    assert "opencv-python==4.10.0 opencv-contrib-python==4.10.0" in opencv.remedy


def test_every_repair_says_whether_it_is_active_and_why():
    found = repairs()
    assert len(found) == len(REPAIRS)
    for is_active, defect in found.values():
        assert isinstance(is_active, bool)
        assert defect.endswith(".")


def test_what_the_doctor_knows_of_codebases_is_what_the_tasks_know():
    assert {base.module: base.extra for base in CODEBASES} == {
        scope: task.extra for scope, task in TASKS.items()
    }
    assert all((MIM / "configs" / base.config).is_file() for base in CODEBASES)


def test_shipped_numbers_are_few():
    path = Path(parity.__file__).with_name("official_outputs.json")
    assert path.stat().st_size < 20_000
    assert json.loads(path.read_text()) == parity.SHIPPED_CASES


def test_folders_of_users_are_left_out():
    text = f"{Path.home()}/x {torch.__file__} /home/someone/y C:\\Users\\someone\\z /root2/q"
    cleaned = anonymous(text)
    assert "someone" not in cleaned
    assert "<site-packages>/torch/__init__.py" in cleaned
    assert cleaned.endswith("/root2/q")


def test_findings_are_wrapped_below_their_line():
    lines = Finding(FAILED, "", "a cause " * 30, "a remedy").lines()
    assert all(len(line) <= 100 for line in lines)
    assert lines[0].split()[0] == "cause"
    assert lines[-1].split() == ["remedy", "a", "remedy"]
