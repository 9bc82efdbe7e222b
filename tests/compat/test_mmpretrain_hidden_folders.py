"""Hidden folders are not classes, and a warning counts the files that are skipped."""

import cv2
import numpy as np
import pytest

pytest.importorskip("mmpretrain")

from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS

from uniformer_mm import compat
from uniformer_mm.compat import mmpretrain_hidden_folders, repair_stack

pytestmark = pytest.mark.stack

FILES = (
    *("cat/a.png", "cat/b.webp", "cat/.ipynb_checkpoints/a-checkpoint.png", "cat/deep/c.png"),
    *("dog/d.png", "dog/e.jfif", "dog/f.tiff", "dog/g.gif", "dog/notes.txt"),
    ".ipynb_checkpoints/h.png",
)


@pytest.fixture
def root(tmp_path):
    pixels = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(pixels)
    return tmp_path


@pytest.fixture
def messages(monkeypatch):
    """Logged messages."""
    found: list[str] = []
    monkeypatch.setattr("mmengine.logging.print_log", lambda text, **_: found.append(text))
    return found


def build(root, **options):
    repair_stack()
    init_default_scope("mmpretrain")
    return DATASETS.build({"type": "CustomDataset", "data_root": str(root), **options})


def test_hidden_folders_are_ignored(root, messages):
    dataset = build(root)
    assert dataset.CLASSES == ("cat", "dog")
    samples = {dataset.get_data_info(i)["img_path"]: i for i in range(len(dataset))}
    names = [str(path).removeprefix(f"{root}/") for path in samples]
    assert names == ["cat/a.png", "cat/deep/c.png", "dog/d.png"]
    labels = [dataset.get_data_info(index)["gt_label"] for index in samples.values()]
    assert [int(label) for label in labels] == [0, 0, 1]
    (message,) = (text for text in messages if text.startswith(str(root)))
    assert "5 files are skipped (" in message
    for count in ("1 .webp", "1 .jfif", "1 .tiff", "1 .gif", "1 .txt"):
        assert count in message


def test_more_formats_may_be_read(root, messages):
    dataset = build(root, extensions=(".png", ".webp", ".jfif", ".tiff", ".gif", ".txt"))
    assert len(dataset) == 8
    assert not any("skipped" in text for text in messages)
    assert len(build(root, with_label=False)) == 3


def test_repair_is_active():
    assert compat.is_active(mmpretrain_hidden_folders)
