"""A small dataset of the user's own, in COCO's format."""

import json
import shutil

import pytest
from small_models import DETECTOR


@pytest.fixture
def own_set(synthetic_folder, tmp_path, monkeypatch):
    """A copy of three synthetic images and their annotations: folder and content of the file."""
    coco = synthetic_folder / "data" / "synthetic" / "coco"
    content = json.loads((coco / "annotations" / "instances_train2017.json").read_text())
    content["images"] = content["images"][:3]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
    (tmp_path / "images").mkdir()
    for image in content["images"]:
        shutil.copy(coco / "train2017" / image["file_name"], tmp_path / "images")
    (tmp_path / "detector.py").write_text(DETECTOR)
    monkeypatch.chdir(tmp_path)
    return tmp_path, content
