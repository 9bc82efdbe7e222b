"""Tables of the zoo, and models by their names."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from uniformer_mm.apis.models import get_model
from uniformer_mm.checkpoints import CheckpointError, download, zoo
from uniformer_mm.checkpoints.zoo import list_models, table
from uniformer_mm.errors import UserError
from uniformer_mm.models import ARCHS, LIGHT_ARCHS

ROOT = Path(__file__).resolve().parents[2]
TINY = {"depths": (1, 1, 4, 1)}


def test_a_table_leaves_out_what_is_the_same_for_all():
    models = [model for model in list_models(ROOT) if model.task == "det"]
    head, _, first, *_ = table(models).splitlines()
    assert head == (
        "| config | backbone | schedule | batch | box AP | mask AP | parameters |"
        " multiply-adds | input size | weights |"
    )
    assert first.startswith(
        "| [mask_rcnn_uniformer_s](mask_rcnn_uniformer_s.py) | S, h14 | 1x | 16 | 45.6"
        " | 41.6 | 41.2 M | 269 G | 800 x 1280 | [authors' page](https://"
    )


def test_a_table_says_of_every_model_where_its_weights_are():
    cells = {
        row.split("|")[1].strip(" []").split("]")[0]: row.split("|")[-2].strip()
        for row in table(list_models(ROOT)).splitlines()[2:]
    }
    file = "https://huggingface.co/Andy1621/uniformer/resolve/main/uniformer_small_in1k.pth"
    assert cells["uniformer_s_in1k"] == f"[file]({file}) (86 MB)"
    assert cells["upernet_uniformer_s_h14"] == "not public"
    assert cells["tsn_uniformer_s_k400"] == "not trained"
    assert all(cells.values())


# name: class of the model, number of classes, one of them
CASES = {
    "mask_rcnn_uniformer_s": ("MaskRCNN", 80, "person"),
    "semantic_fpn_uniformer_xxs": ("EncoderDecoder", 150, "wall"),
    "td_hm_uniformer_s_256x192": ("TopdownPoseEstimator", 0, None),
    "uniformer_s_8x8_k400": ("Recognizer3D", 400, "riding a bike"),
    "uniformer_s_in1k": ("ImageClassifier", 1000, "tench, Tinca tinca"),
}


def current_scope():
    scope = DefaultScope.get_current_instance()
    return scope and scope.scope_name


@pytest.mark.parametrize("name", CASES)
def test_a_model_of_any_task_by_its_name(name):
    kind, count, first = CASES[name]
    arch = dict(LIGHT_ARCHS["xxs"] if "xxs" in name else ARCHS["small"], **TINY)
    scope = current_scope()
    model = get_model(name, arch=arch)
    assert current_scope() == scope
    assert type(model).__name__ == kind
    assert not model.training
    assert model.cfg.model.backbone.arch == arch
    assert len(model.dataset_meta.get("classes", ())) == count
    assert first is None or model.dataset_meta["classes"][0] == first
    assert model.data_preprocessor.mean.numel() == 3, "pixels are normalized"


def test_options_of_the_backbone():
    model = get_model("uniformer_s_in1k", arch=TINY, attention="window")
    assert [block.window_size for block in model.backbone.blocks3] == [14] * 4


def test_unknown_names_and_unpublished_weights_are_named():
    with pytest.raises(UserError, match=r"'mask_rcnn_uniformer_x' .*mask_rcnn_uniformer_xxs"):
        get_model("mask_rcnn_uniformer_x")
    with pytest.raises(CheckpointError, match=r"mask_rcnn_uniformer_s .*drive\.google\.com"):
        get_model("mask_rcnn_uniformer_s", True)


@pytest.fixture
def published(tmp_path, server, monkeypatch):
    """Publishes a file of a small model as that of `uniformer_s_in1k`."""
    torch.save({"model": get_model("uniformer_s_in1k", arch=TINY).state_dict()}, tmp_path / "s.pth")
    content = (tmp_path / "s.pth").read_bytes()

    def publish(**said):
        said = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), **said}
        model = replace(
            next(model for model in list_models(ROOT) if model.name == "uniformer_s_in1k"),
            weights=f"{server}/s.pth",
            **{f"weights_{key}": value for key, value in said.items()},
        )
        for module in (zoo, download):
            monkeypatch.setattr(module, "list_models", lambda: [model])
        zoo.published_file.cache_clear()

    yield publish
    zoo.published_file.cache_clear()


def test_published_weights_are_downloaded_and_verified(published, tmp_path):
    published(sha256="0" * 64)
    with pytest.raises(CheckpointError, match=r"s\.pth: SHA-256 mismatch.*0000"):
        get_model("uniformer_s_in1k", True, arch=TINY)
    published(size=1)
    with pytest.raises(CheckpointError, match=r"s\.pth .*expected 1: "):
        get_model("uniformer_s_in1k", True, arch=TINY)
    assert not list((tmp_path / "cache").rglob("*.pth"))
    published()
    with pytest.raises(CheckpointError, match=r"(?s)s\.pth .*depths \(1, 1, 4, 1\)"):
        get_model("uniformer_s_in1k", True, arch={"depths": (1, 1, 5, 1)})
    model = get_model("uniformer_s_in1k", True, arch=TINY)
    theirs = torch.load(tmp_path / "s.pth", weights_only=True)["model"]
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in model.state_dict().items())
