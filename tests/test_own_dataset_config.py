"""The config for own data in the docs works."""

import re
from pathlib import Path

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "own_dataset.md").read_text(), re.DOTALL
)


def load(tmp_path, text):
    path = tmp_path / "example.py"
    path.write_text(text)
    init_default_scope("mmdet")
    return Config.fromfile(path)


def test_config_for_own_data(tmp_path):
    example = next(text for text in EXAMPLES if "metainfo" in text)
    cfg = load(tmp_path, example.replace('"configs/', f'"{ROOT}/configs/'))
    for split in ("train", "val", "test"):
        dataset = cfg[f"{split}_dataloader"].dataset
        assert dataset.data_root == "pets/"
        assert dataset.metainfo.classes == ("cat", "dog")
        assert dataset.ann_file == ("train.json" if split == "train" else "val.json")
    assert cfg.test_evaluator.ann_file == "pets/val.json"
    roi_head = MODELS.build(cfg.model).roi_head
    assert (roi_head.bbox_head.num_classes, roi_head.mask_head.num_classes) == (2, 2)
