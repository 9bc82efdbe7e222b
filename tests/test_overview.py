"""The picture of the README: its photo may be used, and its code has what it needs."""

import json
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "overview"


@pytest.fixture(scope="module")
def make():
    return runpy.run_path(str(FOLDER / "make.py"))


def test_the_photo_is_under_a_licence_that_allows_it_and_is_credited():
    content = json.loads((FOLDER / "annotations.json").read_text())
    (image,), (licence,) = content["images"], content["licenses"]
    assert image["license"] == licence["id"]
    assert "/licenses/by/2.0/" in licence["url"]
    number = image["flickr_url"].rpartition("/")[2].partition("_")[0]
    for page in ("README.md", "docs/index.md"):
        text = (ROOT / page).read_text()
        assert f"Flickr {number}" in text
        assert "creativecommons.org/licenses/by/2.0/" in text


def test_the_picture_is_wide_enough_and_small():
    path = ROOT / "docs" / "overview.jpg"
    assert cv2.imread(str(path)).shape[1] == 1600
    assert path.stat().st_size < 500_000


@pytest.mark.stack
def test_the_dataset_and_a_config_for_each_task_are_written(make, tmp_path):
    photo = tmp_path / "photo.jpg"
    cv2.imwrite(str(photo), np.zeros((425, 640, 3), np.uint8))
    make["prepare"](photo, tmp_path / "out", 2)
    labels = cv2.imread(str(tmp_path / "out" / "maps" / "000000000785.png"), cv2.IMREAD_UNCHANGED)
    assert np.unique(labels).tolist() == list(range(len(make["CLASSES"])))
    assert make["CLASSES"][labels[200, 400]] == "person"
    assert make["CLASSES"][labels[20, 600]] == "sky"
    for name, (_, run) in make["RUNS"].items():
        cfg = Config.fromfile(tmp_path / "out" / f"{name}.py")
        assert cfg.train_cfg.max_iters == 2 * run.iterations
        assert cfg.model.backbone.init_cfg is None
