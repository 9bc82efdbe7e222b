"""Stock configs of every family train and predict with UniFormer, by the swap that the docs show.

A tenth of them runs by default. `pytest -m heads` runs all of them.
"""

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from head_batches import BATCHES, CAPTION_WORDS
from head_families import FAMILIES, PAGE, Family, write_table
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.structures import BaseDataElement
from torch import nn

from uniformer_mm import UniFormer
from uniformer_mm.apis.config import replace_sync_batch_norm

BY_DEFAULT = {
    *("mmdet CornerNet", "mmdet Conditional DETR", "mmdet Mask2Former", "mmdet Panoptic FPN"),
    *("mmdet QDTrack", "mmdet RTMDet-Ins", "mmdet SSD"),
    *("mmseg BiSeNetV1", "mmseg OCRNet", "mmseg SegFormer"),
    *("mmpose RTMPose", "mmpose SimCC", "mmaction AVA, SlowOnly", "mmaction TPN"),
}
NAMES = [f"{family.codebase} {family.name}" for family in FAMILIES]

AT_MOST = {
    "fc_out_channels": 128,
    "feedforward_channels": 128,
    "max_per_img": 20,
    "nms_pre": 50,
    "num": 32,  # of samplers
    "num_proposals": 20,
    "num_queries": 20,
    "stacked_convs": 2,
}
"""Upper bounds of options that are reduced anywhere in a model."""

MISSING_BASE = "    from mmpose.configs._base_.default_runtime import *  # noqa"
"""Of a stock config, which cannot be read: mmpose's wheel has no `mmpose.configs`."""


def read(family: Family) -> Config:
    """A stock config with a short UniFormer as its backbone, as in docs/existing_configs.md."""
    codebase, path = family.config.split("::")
    file = Path(importlib.import_module(codebase).__file__).parent / ".mim" / "configs" / path
    if MISSING_BASE in file.read_text():
        scope: dict[str, Any] = {"train_cfg": {}, "default_hooks": {}}
        exec(file.read_text().replace(MISSING_BASE, "    pass"), scope)
        names = ("model", "codec", "train_dataloader", "val_dataloader")
        cfg = Config({name: scope[name] for name in names})
    else:
        cfg = Config.fromfile(file)
    short = {"arch": {"depths": (1, 1, 1, 1)}}
    backbone = {"_delete_": True, "type": "mmengine.UniFormer", **family.backbone, **short}
    swap = {f"model.{place}": dict(backbone) for place in family.at}
    cfg.merge_from_dict(swap | {f"model.{key}": v for key, v in family.settings.items()})
    return cfg


def reduced(value: Any, key: str = "") -> Any:
    """A config with `AT_MOST`, transformers of two layers, and no score threshold."""
    if isinstance(value, dict):
        if "layer_cfg" in value and "num_layers" in value:
            value = {**value, "num_layers": 2}
        return {k: reduced(v, k) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(reduced(v, key) for v in value)
    if key in AT_MOST and isinstance(value, int):
        return min(value, AT_MOST[key])
    return 0.0 if key == "score_thr" else value


def with_smaller_images(value: Any, key: str = "") -> Any:
    """A config of a bottom-up pose estimator for images of a quarter of the size."""
    if key in ("input_size", "heatmap_size"):
        return type(value)(v // 4 for v in value)
    if isinstance(value, dict):
        return {k: with_smaller_images(v, k) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(with_smaller_images(v) for v in value)
    return value


def build(family: Family) -> tuple[Config, nn.Module]:
    """Its config, with settings that make the model small, and the model."""
    cfg = read(family)
    cfg.model = reduced(cfg.model.to_dict())
    cfg.merge_from_dict({f"model.{key}": value for key, value in family.small.items()})
    if family.batch == "persons":
        cfg = Config(with_smaller_images(cfg.to_dict()))
    if family.batch == "semantic_map":
        cfg.model.data_preprocessor.size = (family.size, family.size)
        cfg.model.test_cfg.mode = "whole"
    if "batch_augments" in cfg.model.get("data_preprocessor", {}):  # they enlarge the images
        cfg.model.data_preprocessor.batch_augments = None
    replace_sync_batch_norm(cfg.model)
    init_default_scope(family.codebase)
    model = importlib.import_module(f"{family.codebase}.registry").MODELS.build(cfg.model)
    # Transformers have parameters that building leaves as the memory was.
    if family.trains:
        model.init_weights()
    else:  # mmpose cannot initialize ED-Pose
        for parameter in model.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)
    return cfg, model


def write_bert(folder: Path) -> None:
    """A small BERT under the name that stock configs download."""
    from transformers import BertConfig, BertModel

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", *CAPTION_WORDS]
    config = BertConfig(vocab_size=len(words), num_hidden_layers=1, intermediate_size=64)
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')


def train(model: nn.Module, backbone: nn.Module, make: Any) -> None:
    """Two iterations, after which every weight of the backbone's blocks has changed."""
    before = [parameter.detach().clone() for parameter in backbone.parameters()]
    optimizer = OptimWrapper(torch.optim.AdamW(model.parameters(), 1e-5, weight_decay=0))
    for _ in range(2):
        model.train()
        losses = model.train_step(make(), optimizer)
        assert all(torch.as_tensor(loss).isfinite().all() for loss in losses.values()), losses
    for (name, parameter), old in zip(backbone.named_parameters(), before, strict=True):
        assert parameter.isfinite().all(), name
        # Not every head reads every stage, whose norm then has no gradient.
        assert (parameter != old).any() or name.startswith("norm"), name


def predictions(sample: Any) -> list[Any]:
    """Tensors and arrays that a model added to a data sample."""
    if hasattr(sample, "video_data_samples"):
        sample = sample.video_data_samples[-1]
    added = [value for key, value in sample.items() if key.startswith("pred_")]
    return [
        value
        for element in added
        for value in (element.values() if isinstance(element, BaseDataElement) else [element])
        if isinstance(value, (torch.Tensor, np.ndarray))
    ]


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(
            family,
            id=name,
            marks=[pytest.mark.heads, *([pytest.mark.stack] if name in BY_DEFAULT else [])],
        )
        for name, family in zip(NAMES, FAMILIES, strict=True)
    ],
)
def test_stock_config_trains_and_predicts(
    family: Family, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip(family.codebase)
    for module, distribution in family.requires.items():
        if find_spec(module) is None:
            pytest.skip(f"needs {distribution}")
    monkeypatch.chdir(tmp_path)
    if "transformers" in family.requires:
        write_bert(tmp_path / "bert-base-uncased")
    monkeypatch.setattr(MMLogger.get_current_instance(), "disabled", True)
    progress = {"epoch": 0, "iter": 0}  # some losses read what the runner writes
    MessageHub.get_current_instance().update_info_dict(progress)
    cfg, model = build(family)
    batches = BATCHES[family.batch](cfg, family.size)
    backbone = next(  # the first: a teacher follows its student
        module for module in model.modules() if isinstance(module, UniFormer)
    )
    if family.trains:
        train(model, backbone, batches[0])
    model.eval()
    with torch.no_grad():
        found = predictions(model.test_step(batches[1]())[0])
    assert any(len(values) for values in found)
    for values in found:
        assert np.isfinite(np.asarray(values, dtype=float)).all()


def test_names_are_unique_and_the_default_ones_exist() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert set(NAMES) >= BY_DEFAULT


def test_the_docs_have_the_table() -> None:
    page = PAGE.read_text()
    assert page == write_table(page), "run: python tests/heads/head_families.py"
