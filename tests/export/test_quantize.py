"""Quantized files: int8 weights where they belong, results near fp32, scores inside of a model."""

import copy
from functools import partial

import cv2
import numpy as np
import onnx
import pytest
import torch
from mmengine.registry import MODELS
from small_models import build_inferencer, training_config

from uniformer_mm.errors import UserError
from uniformer_mm.export.files import metadata, runner, write
from uniformer_mm.export.graph import Part, exportable, trace
from uniformer_mm.export.quantize import calibration_inputs, quantize, substitute
from uniformer_mm.export.scoring import score

pytestmark = [pytest.mark.stack, pytest.mark.slow]

PARTS = {"cls": "model", "det": "neck"}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of images."""
    folder = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(0)
    for i in range(4):
        coarse = noise.integers(0, 256, (6, 8, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{i}.png"), cv2.resize(coarse, (96, 64)))
    return folder


@pytest.fixture(scope="module", params=PARTS)
def exported(request, images, tmp_path_factory):
    """An inferencer, its part, and files of it in fp32 and int8."""
    inferencer = build_inferencer(request.param, threshold=0.0)
    part = Part(inferencer.model, inferencer.task, PARTS[request.param]).eval()
    sizes = part.sizes(inferencer.input_shape())
    program = trace(exportable(part, fused=True), sizes)
    names = part.output_names(len(program.graph_signature.user_outputs))
    folder = tmp_path_factory.mktemp("files")
    single, quantized = folder / "fp32.onnx", folder / "int8.onnx"
    write(program, single, part.axes, names, metadata(part, sizes, inferencer.meta, "a.py"))
    quantize(single, quantized, calibration_inputs(inferencer, images))
    return inferencer, part, single, quantized


def test_weights_are_int8_but_those_of_depthwise_convolutions(exported):
    *_, single, quantized = exported
    assert quantized.stat().st_size < 0.5 * single.stat().st_size
    graph = onnx.load(quantized).graph
    made_by = {output: node for node in graph.node for output in node.output}
    initializers = {tensor.name: tensor.data_type for tensor in graph.initializer}
    kinds = set()
    for node in graph.node:
        if node.op_type not in ("Conv", "MatMul", "Gemm"):
            continue
        groups = [a.i for a in node.attribute if a.name == "group"]
        weight = made_by.get(node.input[1])
        if node.op_type == "Conv" and groups and groups[0] > 1:
            assert initializers[node.input[1]] == onnx.TensorProto.FLOAT
            kinds.add("depthwise")
        elif weight is not None and weight.op_type == "DequantizeLinear":
            assert initializers[weight.input[0]] == onnx.TensorProto.INT8
            assert made_by[node.input[0]].op_type == "DequantizeLinear"
            kinds.add(node.op_type)
        else:  # of attention: a product of two activations
            assert node.op_type == "MatMul"
            assert node.input[1] not in initializers
    assert {"depthwise", "Conv", "MatMul"} <= kinds


def test_results_are_near_and_sizes_free(exported, images):
    inferencer, _, single, quantized = exported
    run, run_single = runner(quantized), runner(single)
    for x in (next(calibration_inputs(inferencer, images)), torch.randn(2, 3, 70, 50)):
        for ours, expected in zip(run(x), run_single(x), strict=True):
            assert 0 < (ours - expected).square().mean().sqrt() < 0.1 * expected.std()
    entries = [onnx.load(path).metadata_props for path in (single, quantized)]
    facts, of_quantized = ({entry.key: entry.value for entry in props} for props in entries)
    assert facts.items() <= of_quantized.items()
    assert facts["config"] == "a.py"


def test_a_file_computes_a_part_of_a_model(exported, images):
    inferencer, part, single, _ = exported
    expected = inferencer.predict(images / "0.png")
    changed = copy.copy(inferencer)
    changed.model = copy.deepcopy(inferencer.model)
    substitute(changed.model, part.part, runner(single))
    assert not any("blocks" in name for name in changed.model.state_dict())
    found = changed.predict(images / "0.png")
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    if part.part == "neck":
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.01)


def test_no_images_for_the_calibration(exported, tmp_path):
    *_, single, _ = exported
    with pytest.raises(UserError, match="--int8: there are no images for the calibration"):
        quantize(single, tmp_path / "int8.onnx", [])


def test_scores_of_a_model_and_of_a_changed_one(synthetic_sets, tmp_path):
    cfg = training_config("cls", synthetic_sets, tmp_path)
    torch.manual_seed(0)
    checkpoint = tmp_path / "weights.pth"
    state = MODELS.build(cfg.model).state_dict()
    torch.save({"state_dict": state}, checkpoint)
    cfg.dump(tmp_path / "config.py")

    def always(label, model):
        logits = torch.eye(12)[label]
        model.head.forward = lambda features: logits.expand(len(features[0]), -1)
        return model

    changes = {label: partial(always, label) for label in range(12)}
    scores = score(tmp_path / "config.py", str(checkpoint), changes)
    assert sum(scores[label]["top-1"] for label in changes) == pytest.approx(100)
