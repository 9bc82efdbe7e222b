"""The content of the wheel, and the imports of the package."""

import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("uniformer_mm", "configs", "tools", "model-index.yml", "setup.py", "pyproject.toml")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the sources, without network."""
    copy = tmp_path_factory.mktemp("sources")
    for name in (*SOURCES, "README.md", "MANIFEST.in"):
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".mim")
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, copy / name)
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('dist'))"
    (copy / "dist").mkdir()
    subprocess.run([sys.executable, "-c", build], cwd=copy, check=True, capture_output=True)
    return zipfile.ZipFile(next((copy / "dist").glob("*.whl")))


def test_wheel_has_the_mim_folder(wheel):
    names = set(wheel.namelist())
    for name in ("configs/det/mask_rcnn_uniformer_b.py", "tools/train.py", "model-index.yml"):
        assert f"uniformer_mm/.mim/{name}" in names
    assert "uniformer_mm/compat/stand_ins/mmcv_ext/__init__.py" in names
    assert "uniformer_mm/doctor/official_outputs.json" in names
    assert "uniformer_mm/py.typed" in names
    assert not any("tests" in name for name in names)


def test_base_package_needs_nothing_that_a_fork_replaces(wheel):
    metadata = next(n for n in wheel.namelist() if n.endswith("METADATA"))
    lines = wheel.read(metadata).decode().splitlines()
    needed = [line for line in lines if line.startswith("Requires-Dist:")]
    base = {
        re.match(r"Requires-Dist: ([\w-]+)", line)[1] for line in needed if "extra ==" not in line
    }
    assert base == {"torch", "filelock", "numpy", "safetensors"}
    with_mmcv = [line for line in needed if "mmcv" in line]
    assert {re.search(r'extra == "(\w+)"', line)[1] for line in with_mmcv} == {"lite", "onedl"}


def test_installed_package_has_the_mim_folder():
    mim = ROOT / "uniformer_mm" / ".mim"
    if not mim.exists():
        pytest.skip("the package is not installed in editable mode")
    assert (mim / "configs" / "det" / "mask_rcnn_uniformer_b.py").is_file()
    assert (mim / "tools" / "train.py").is_file()
    assert (mim / "model-index.yml").is_file()


OUTPUTS = (
    *("work_dirs/model/epoch_1.pth", "data/coco/a.jpg", "predictions/predictions.json"),
    *("inside/a.png", "samples/a.png", "curves.png", "shapes/pictures/a.png", "shown/a.png"),
    *("model.onnx", "model.onnx.data", "model.pt2", "model.safetensors", "results.pkl"),
)
"""Files that the tools write by default or in the commands of the docs."""


def test_git_ignores_what_the_tools_write():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git repository")
    command = ["git", "check-ignore", *OUTPUTS]
    ignored = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    assert ignored == list(OUTPUTS)


def test_importing_the_package_is_light():
    heavy = {"mmcv", "mmdet", "mmseg", "mmpose", "mmaction", "torchvision", "cv2", "matplotlib"}
    code = f"import sys, uniformer_mm; print({heavy} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"
    assert result.stderr == ""


@pytest.mark.parametrize("name", ["train", "test", "infer", "export", "doctor"])
def test_console_commands_are_the_tools(name, tmp_path, monkeypatch, capsys):
    (entry,) = metadata.entry_points(group="console_scripts", name=f"uniformer-{name}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"uniformer-{name}", "--help"])
    with pytest.raises(SystemExit, match="0"):
        entry.load()()
    assert f"usage: {name}.py" in capsys.readouterr().out
