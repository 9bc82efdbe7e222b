"""The tools that inspect models, datasets and training runs, as a user calls them."""

import json

import cv2
import numpy as np
import pytest
from running import CONFIG, ROOT, run_inside

from uniformer_mm.analysis.overlays import PANEL
from uniformer_mm.datasets.media import write_image
from uniformer_mm.visualization.drawing import GAP

pytestmark = pytest.mark.stack

CLASSIFIER = ROOT / "configs" / "cls" / "uniformer_xxs_128_in1k.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A config of a small lightweight model, and an image."""
    folder = tmp_path_factory.mktemp("inside")
    light = {"_delete_": True, "depths": (1, 1, 2, 1), "embed_dims": (56, 112, 224, 448)}
    model = {"backbone": {"arch": {**light, "head_dim": 28}}}
    (folder / "light.py").write_text(f"_base_ = {str(CLASSIFIER)!r}\nmodel = {model!r}\n")
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    write_image(folder / "in" / "a.png", noise)
    return folder


def look(folder, view, *arguments):
    return run_inside("look_inside.py", view, folder / "light.py", *arguments, "--random-weights")


def test_attention_and_kernels_are_written(folder, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [folder / "in", "--out", out, "--point", 40, 30, "--blocks", "3.2"]
    assert look(folder, "attention", *arguments) == 0
    assert str(out / "a.png") in capsys.readouterr().out
    wide = cv2.imread(str(out / "a.png"))
    assert wide.shape[1] == 2 * PANEL + GAP
    assert (wide[-30:, :PANEL] == 255).all(), "the model input has no colour bar"
    assert (wide[-30:, PANEL + GAP :] < 255).any()
    assert look(folder, "attention", *arguments, "--columns", 1, "--overwrite") == 0
    assert cv2.imread(str(out / "a.png")).shape[1] == PANEL
    assert look(folder, "affinity", "--out", out) == 2
    assert str(out) in capsys.readouterr().err
    assert look(folder, "affinity", "--out", out, "--overwrite") == 0
    assert cv2.imread(str(out / "affinity.png")) is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["affinity", "in"], "leave INPUT out"),
        (["tokens"], "needs an INPUT"),
        (["attention", "none.png"], "none.png"),
        (["attention", "in", "--blocks", "5.1"], "block 5.1"),
        (["attention", "in", "--columns", "0"], "--columns must be at least 1"),
        (["attention", "in", "--point", "1", "999"], "1, 999"),
    ],
)
def test_mistakes_are_named(folder, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(folder)
    assert look(folder, *arguments, "--out", tmp_path / "out") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_curves_of_a_training(trained, tmp_path, capsys):
    work_dir, _ = trained
    out = tmp_path / "curves.png"
    assert run_inside("plot_curves.py", work_dir, "--out", out) == 0
    text = capsys.readouterr().out
    assert "coco/bbox_mAP (validation)" in text
    assert "iteration 2" in text
    assert cv2.imread(str(out)) is not None
    assert run_inside("plot_curves.py", tmp_path) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert run_inside("plot_curves.py", work_dir, "--keys", "nothing") == 2
    assert "'nothing'" in capsys.readouterr().err


def test_samples_of_a_dataset(synthetic_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(synthetic_folder)
    coco = synthetic_folder / "data" / "synthetic" / "coco"
    file = coco / "annotations" / "instances_val2017.json"
    names = {image["file_name"] for image in json.loads(file.read_text())["images"]}
    out = tmp_path / "samples"
    data = ["--coco", coco / "val2017", file]
    assert run_inside("browse_dataset.py", CONFIG, *data, "--count", 5, "--out", out) == 0
    written = sorted(path.name for path in out.iterdir())
    assert written
    assert {name[4:].replace(".png", ".jpg") for name in written} <= names
    for arguments, message in (
        ([*data, "--out", out], str(out)),
        ([*data, "--count", 0], "--count"),
        (["--split", "val", "--out", tmp_path / "none", "--coco", "nowhere", file], "nowhere"),
    ):
        assert run_inside("browse_dataset.py", CONFIG, *arguments) == 2
        assert message in capsys.readouterr().err
