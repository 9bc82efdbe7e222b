"""The size of an attention head, which shapes do not tell, is known for published files."""

import hashlib
import re
from pathlib import Path

import pytest
import torch

from uniformer_mm.checkpoints import CheckpointError, head_dims, load_pretrained
from uniformer_mm.checkpoints.head_dims import check_head_dim, head_dim_of
from uniformer_mm.models import UniFormer
from uniformer_mm.models.uniformer import ARCHS
from uniformer_mm.models.uniformer_light import LIGHT_ARCHS
from uniformer_mm.zoo import MIM, list_models


@pytest.mark.parametrize(
    "file",
    [
        "uniformer_small_plus_in1k.pth",
        "weights/uniformer_small_tl_224.pth",
        "https://host/uniformer_base_tl_384.pth",
        "hf://owner/repository/uniformer_small_plus_tl_224.pth",
        "uniformer_s_plus_in1k",
        "converted/uniformer_s_tl_224_in1k-0123abcd.pth",
    ],
)
def test_another_head_dim_than_that_of_a_published_file_is_refused(file):
    with pytest.raises(CheckpointError, match="set head_dim=32 in the backbone"):
        check_head_dim(file, 64)
    check_head_dim(file, 32)


def test_files_of_ones_own_may_have_any():
    check_head_dim("uniformer_small_in1k_of_mine.pth", 32)
    check_head_dim("work_dirs/mask_rcnn_uniformer_s/iter_100.pth", 32)
    check_head_dim("uniformer_small_in1k.pth", None)


@pytest.mark.parametrize("model", list_models(), ids=lambda model: model.name)
def test_every_model_of_the_zoo_is_known_by_its_name(model):
    """As its config has it, which may name an arch and a head_dim."""
    text = (MIM / model.config).read_text()
    said = re.search(r"head_dim=(\d+)", text)
    arch = re.search(r'arch="(\w+)"', text)
    default = "xxs" if model.backbone.startswith("XXS") else "small"
    expected = {**ARCHS, **LIGHT_ARCHS}[arch[1] if arch else default].get("head_dim", 64)
    assert head_dim_of(model.name) == (int(said[1]) if said else expected)
    if model.weights:
        assert head_dim_of(Path(model.weights).stem) == head_dim_of(model.name)


def test_a_renamed_published_file_is_known_by_its_hash(tmp_path, monkeypatch):
    arch = {"depths": (1, 1, 1, 1), "embed_dims": (16, 16, 64, 64)}
    path = tmp_path / "renamed.pth"
    torch.save(UniFormer(arch).state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    load_pretrained(UniFormer(arch, head_dim=32), str(path))
    monkeypatch.setattr(head_dims, "known_hash", lambda url: digest * ("small_in1k" in url))
    with pytest.raises(CheckpointError, match=r"renamed\.pth was trained with .* 64 channels"):
        load_pretrained(UniFormer(arch, head_dim=32), str(path))
    load_pretrained(UniFormer(arch), str(path))
