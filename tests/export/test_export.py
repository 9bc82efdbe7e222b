"""A graph has the outputs of the model, also at sizes that it was not traced at."""

import json
from functools import cache
from pathlib import Path

import onnx
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from uniformer_mm.apis.config import load_config, replace_sync_batch_norm
from uniformer_mm.errors import UserError
from uniformer_mm.export import files
from uniformer_mm.export.adapting import AdaptivePool, adapt
from uniformer_mm.export.checking import check_sizes, differences
from uniformer_mm.export.graph import Part, exportable, trace
from uniformer_mm.models import UniFormer, UniFormerLight
from uniformer_mm.tasks import TASKS, task_of
from uniformer_mm.torch_internals import drop_layout_guards

ROOT = Path(__file__).resolve().parents[2]
TINY = {"depths": (1, 1, 2, 1), "embed_dims": [8, 8, 16, 16], "head_dim": 8}
HYBRID = {**TINY, "depths": (1, 1, 4, 1)}
IMAGE = {"batch": 1, "channels": 3, "height": 96, "width": 128}
CLIP = {**IMAGE, "frames": 4}
BACKBONES = {
    "hybrid": lambda: UniFormer(HYBRID, attention="hybrid", window_size=3),
    "plus": lambda: UniFormer(dict(TINY, stem="conv", downsample="conv"), layer_scale="all"),
    "divided": lambda: UniFormer(TINY, dims=3, split=True, std=True),
    "light": lambda: UniFormerLight(TINY, class_token=True),
}
MODEL_SETTINGS = {
    "seg/upernet_uniformer_s_h14": {
        "decode_head": {"in_channels": TINY["embed_dims"], "channels": 8},
        "auxiliary_head": {"in_channels": 16, "channels": 8},
    },
    "seg/semantic_fpn_uniformer_s_global": {
        "neck": {"in_channels": TINY["embed_dims"], "out_channels": 8},
        "decode_head": {"in_channels": [8] * 4, "channels": 8},
    },
    "pose/td_hm_uniformer_s_256x192": {
        "head": {"in_channels": 16, "deconv_out_channels": (8, 8, 8)},
    },
    "video/tsn_uniformer_s_k400": {"cls_head": {"in_channels": 16}},
    "video/uniformer_s_16x4_k400": {"cls_head": {"in_channels": 16}},
    "video/uniformer_s_8x8_k400": {"cls_head": {"in_channels": 16}},
    "video/uniformer_s_16x4_hmdb51": {"cls_head": {"in_channels": 16}},
    "cls/uniformer_s_in1k": {"head": {"in_channels": 16}},
}


def backbone_part(name):
    torch.manual_seed(0)
    holder = nn.Module()
    holder.backbone = BACKBONES[name]()
    if isinstance(holder.backbone, UniFormerLight):
        # With the initial one, zero, all scores are equal: rounding would decide which are kept.
        nn.init.normal_(holder.backbone.cls_token)
    task = TASKS["mmaction" if holder.backbone.dims == 3 else "mmdet"]
    return Part(holder, task, "backbone").eval()


def model_part(name):
    """The model of a config with few channels."""
    cfg = load_config(str(ROOT / "configs" / f"{name}.py"))
    cfg.model.backbone.update(arch=TINY, init_cfg=None)
    if "window_size" in cfg.model.backbone:
        cfg.model.backbone.window_size = 3
    cfg.merge_from_dict({"model": MODEL_SETTINGS[name]})
    cfg.model.setdefault("data_preprocessor", cfg.get("data_preprocessor"))
    replace_sync_batch_norm(cfg.model)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    return Part(model, task_of(cfg)).eval()


@cache
def traced(name, fused):
    """A part, and its graph for all sizes."""
    part = model_part(name) if "/" in name else backbone_part(name)
    return part, trace(exportable(part, fused), example_sizes(part))


def example_sizes(part):
    return {axis: {**CLIP, "segments": 3}[axis] for axis in part.axes}


def written(part, program, path, facts=None):
    """A function that runs a written graph."""
    names = part.output_names(len(program.graph_signature.user_outputs))
    files.write(program, path, part.axes, names, facts or {})
    return files.runner(path)


@torch.no_grad()
def assert_same_everywhere(part, run):
    sizes = example_sizes(part)
    shapes = [part.shape(entry) for entry in check_sizes(sizes, part.window_size)]
    shapes.append((3, *shapes[0][1:]))
    found = list(differences(part, run, shapes))
    assert max(difference.relative for difference in found) < 1e-4, found


@pytest.mark.slow
@pytest.mark.stack
@pytest.mark.parametrize(
    ("name", "fused", "suffix"),
    [
        ("hybrid", False, "pt2"),
        ("hybrid", True, "pt2"),
        ("hybrid", True, "onnx"),
        ("plus", True, "pt2"),
        ("divided", True, "pt2"),
        ("light", False, "onnx"),
        ("light", True, "pt2"),
        ("seg/semantic_fpn_uniformer_s_global", False, "pt2"),
        ("pose/td_hm_uniformer_s_256x192", False, "pt2"),
        ("video/tsn_uniformer_s_k400", False, "pt2"),
        ("video/uniformer_s_16x4_k400", False, "pt2"),
        ("cls/uniformer_s_in1k", False, "pt2"),
    ],
)
def test_files_have_the_outputs_of_the_model(name, fused, suffix, tmp_path):
    part, program = traced(name, fused)
    assert_same_everywhere(part, written(part, program, tmp_path / f"x.{suffix}"))


@pytest.mark.slow
@pytest.mark.stack
def test_an_onnx_file_says_what_its_inputs_and_outputs_are(tmp_path):
    part, program = traced("seg/upernet_uniformer_s_h14", True)
    facts = files.metadata(part, IMAGE, {"classes": ("a", "b")}, "configs/some.py")
    assert_same_everywhere(part, written(part, program, tmp_path / "x.onnx", facts))
    model = onnx.load(tmp_path / "x.onnx")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert (metadata["config"], metadata["channels"]) == ("some.py", "RGB")
    assert json.loads(metadata["sizes"]) == {"batch": 1, "height": 96, "width": 128}
    assert json.loads(metadata["mean"]) == [123.675, 116.28, 103.53]
    assert json.loads(metadata["std"]) == [58.395, 57.12, 57.375]
    assert json.loads(metadata["classes"]) == ["a", "b"]
    axes = [size.dim_param for size in model.graph.input[0].type.tensor_type.shape.dim]
    assert axes == ["batch", "", "height", "width"]
    (output,) = model.graph.output
    assert output.name == "logits"
    sizes = output.type.tensor_type.shape.dim
    assert [size.dim_param or size.dim_value for size in sizes] == ["batch", 150, "height", "width"]


@pytest.mark.stack
@pytest.mark.parametrize(
    ("config", "channels"), [("uniformer_s_8x8_k400", "RGB"), ("uniformer_s_16x4_hmdb51", "BGR")]
)
def test_the_order_of_channels_is_in_the_metadata(config, channels):
    part = model_part(f"video/{config}")
    assert files.metadata(part, {}, {}, "x.py")["channels"] == channels


@pytest.mark.slow
def test_a_static_graph_refuses_other_sizes(tmp_path):
    part = backbone_part("hybrid")
    program = trace(exportable(part, False), IMAGE, dynamic=False)
    run = written(part, program, tmp_path / "x.pt2")
    run(torch.zeros(part.shape(IMAGE)))
    with pytest.raises(AssertionError, match="size"):
        run(torch.zeros(1, 3, 64, 64))


@pytest.mark.slow
def test_a_graph_refuses_what_the_model_refuses(tmp_path):
    run = written(*traced("plus", True), tmp_path / "x.pt2")
    with pytest.raises(AssertionError, match="32"):
        run(torch.zeros(1, 3, 31, 64))


@pytest.mark.slow
def test_recorded_conditions_are_removed_if_torch_records_them():
    class Program:
        pass

    program = Program()
    drop_layout_guards(program)
    program._guards_code = ["x.size()[0] > 1"]
    drop_layout_guards(program)
    assert not program._guards_code
    assert not traced("plus", True)[1]._guards_code


@pytest.mark.parametrize("cells", [(2, 3), (6, 6), (7, 1)])
@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (1, 2, 13, 5), (1, 2, 1, 4)])
def test_pooling_is_that_of_torch(cells, shape):
    x = torch.randn(shape, dtype=torch.float64)
    expected = nn.functional.adaptive_avg_pool2d(x, cells)
    torch.testing.assert_close(AdaptivePool(cells)(x), expected)


@pytest.mark.parametrize(
    "pool",
    [nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d((3, 2)), nn.AdaptiveAvgPool3d((1, 1, 1))],
)
def test_pools_of_heads_are_replaced(pool):
    x = torch.randn((2, 3, 5, 7) if isinstance(pool, nn.AdaptiveAvgPool2d) else (2, 3, 4, 5, 7))
    model = nn.Sequential(pool)
    expected = model(x)
    adapt(model)
    assert model[0] is not pool
    torch.testing.assert_close(model(x), expected)


def test_parts_that_cannot_be_exported_are_named():
    with pytest.raises(UserError, match="UniFormer backbone"):
        Part(nn.Linear(1, 1), TASKS["mmdet"])
    holder = backbone_part("plus").model
    with pytest.raises(UserError, match="--part backbone"):
        Part(holder, TASKS["mmdet"], "neck")
    with pytest.raises(UserError, match="--part neck"):
        Part(holder, TASKS["mmdet"], "model")


def test_invalid_sizes_are_refused():
    part = backbone_part("plus")
    assert part.sizes((1, 3, 96, 128), size=(64, 32)) == {**IMAGE, "height": 64, "width": 32}
    with pytest.raises(UserError, match=r"height .* 32, not 31"):
        part.sizes((1, 3, 96, 128), size=(31, 64))
    with pytest.raises(UserError, match="--frames"):
        part.sizes((1, 3, 96, 128), frames=4)
    video = backbone_part("divided")
    assert video.sizes((1, 4, 3, 16, 96, 128), frames=8)["frames"] == 8


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    files.check_packages("torch")
    with pytest.raises(UserError, match=r"onnxruntime: pip install 'uniformer-mm\[export\]'"):
        files.check_packages("onnx")
