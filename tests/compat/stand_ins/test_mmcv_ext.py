"""The ops match the recorded results of the compiled ones, and their gradients are correct."""

import importlib
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from op_cases import CASES, RECORD, ROIS, pattern
from torch import Tensor

from uniformer_mm import compat
from uniformer_mm.compat import mmcv_ext_missing
from uniformer_mm.compat.stand_ins import mmcv_ext

pytestmark = pytest.mark.stack

COMPILED = json.loads(RECORD.read_text())
SHAPES, STARTS = torch.tensor([[3, 4], [2, 2]]), torch.tensor([0, 12])
TARGET = torch.tensor([0, 2, 1, 2, 0])


def locations(*shape: int) -> Tensor:
    return pattern(*shape, step=43, low=-0.2, high=1.2)


# Autograd function of mmcv.ops, its differentiable inputs, and a function from these to all
# arguments.
FUNCTIONS: dict[str, tuple[str, tuple[Tensor, ...], Callable[..., tuple]]] = {
    "deform_conv": (
        "deform_conv.DeformConv2dFunction",
        (
            pattern(2, 4, 4, 3, step=37),
            pattern(2, 36, 4, 3, step=43, low=-1.97, high=1.9),
            pattern(2, 2, 3, 3, step=29),
        ),
        lambda x, offset, weight: (x, offset, weight, 1, 1, 1, 2, 2, False, 1),
    ),
    "modulated_deform_conv": (
        "modulated_deform_conv.ModulatedDeformConv2dFunction",
        (
            pattern(2, 4, 5, 3, step=37),
            pattern(2, 36, 3, 3, step=43, low=-1.97, high=1.9),
            pattern(2, 18, 3, 3, step=31, low=0, high=1),
            pattern(2, 4, 3, 3, step=29),
            pattern(2, step=17),
        ),
        lambda x, offset, mask, weight, bias: (
            *(x, offset, mask, weight, bias),
            *((2, 1), (1, 1), 1, 1, 2),
        ),
    ),
    "roi_pool": (
        "roi_pool.RoIPoolFunction",
        (pattern(2, 2, 6, 7, step=37),),
        lambda x: (x, ROIS.to(x.dtype), (2, 3), 0.3),
    ),
    "mean_roi_align": (
        "roi_align.RoIAlignFunction",
        (pattern(2, 2, 6, 7, step=37),),
        lambda x: (x, ROIS.to(x.dtype), (2, 3), 0.3, 0, "avg", False),
    ),
    "max_roi_align": (
        "roi_align.RoIAlignFunction",
        (pattern(2, 2, 6, 7, step=37),),
        lambda x: (x, ROIS.to(x.dtype), (2, 3), 0.3, 2, "max", True),
    ),
    "deform_roi_pool": (
        "deform_roi_pool.DeformRoIPoolFunction",
        # Inside the image: at its border the compiled op's gradient is not that of its output.
        (pattern(1, 2, 6, 7, step=37), pattern(1, 2, 2, 3, step=43)),
        lambda x, offset: (x, x.new_tensor([[0, 5, 4, 17, 15]]), offset, (2, 3), 0.3, 2, 0.1),
    ),
    "ms_deform_attn": (
        "multi_scale_deform_attn.MultiScaleDeformableAttnFunction",
        (
            pattern(2, 16, 2, 3, step=37),
            locations(2, 3, 2, 2, 2, 2),
            pattern(2, 3, 2, 2, 2, step=31, low=0, high=1),
        ),
        lambda value, where, weights: (value, SHAPES, STARTS, where, weights, 64),
    ),
    "sigmoid_focal_loss": (
        "focal_loss.SigmoidFocalLossFunction",
        (pattern(5, 3, step=37, low=-4, high=4),),
        lambda x: (x, TARGET, 1.5, 0.25, x.new_tensor([1, 2, 0.5]), "mean"),
    ),
    "softmax_focal_loss": (
        "focal_loss.SoftmaxFocalLossFunction",
        (pattern(5, 3, step=37, low=-4, high=4),),
        lambda x: (x, TARGET, 1.5, 0.25, None, "sum"),
    ),
    "carafe": (
        "carafe.CARAFEFunction",
        (pattern(2, 4, 3, 2, step=37), pattern(2, 18, 6, 4, step=29)),
        lambda x, masks: (x, masks, 3, 2, 2),
    ),
    "psamask": (
        "psa_mask.PSAMaskFunction",
        (pattern(2, 15, 2, 3, step=37),),
        lambda x: (x, 1, (3, 5)),
    ),
}


@pytest.fixture(scope="module")
def mmcv_ops() -> ModuleType:
    compat.apply(mmcv_ext_missing)
    if not compat.is_active(mmcv_ext_missing):
        pytest.skip("mmcv is missing or has compiled ops")
    return importlib.import_module("mmcv.ops")


def op_of(name: str) -> Callable[..., Tensor]:
    module, function = FUNCTIONS[name][0].split(".")
    return getattr(importlib.import_module(f"mmcv.ops.{module}"), function).apply


@pytest.fixture(params=FUNCTIONS)
def function(request: pytest.FixtureRequest, mmcv_ops: ModuleType) -> tuple[Callable, tuple]:
    """A function of differentiable inputs that calls an op, and these inputs."""
    _, inputs, arguments = FUNCTIONS[request.param]
    op = op_of(request.param)
    return lambda *tensors: op(*arguments(*tensors)), inputs


@pytest.mark.parametrize("name", CASES)
def test_op_matches_the_compiled_op(name: str) -> None:
    op, settings = CASES[name]
    results = op(mmcv_ext, **settings)
    assert len(results) == len(COMPILED[name])
    for number, (result, compiled) in enumerate(zip(results, COMPILED[name], strict=True)):
        expected = torch.tensor(compiled, dtype=torch.float64)
        torch.testing.assert_close(
            *(result.flatten().double(), expected),
            rtol=1e-5,
            atol=1e-6,
            msg=lambda text, number=number: f"result {number}: {text}",
        )


def test_gradients_match_numerical_ones(function: tuple[Callable, tuple]) -> None:
    run, inputs = function
    assert torch.autograd.gradcheck(run, [x.clone().requires_grad_() for x in inputs])


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_float32_rounded_once(
    function: tuple[Callable, tuple], dtype: torch.dtype, autocast: bool
) -> None:
    run, inputs = function
    results = []
    for own_type in (torch.float32, dtype):
        tensors = [x.to(dtype).to(own_type).requires_grad_() for x in inputs]
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast and own_type == dtype):
            output = run(*tensors)
        assert output.dtype == own_type
        results.append([output, *torch.autograd.grad(output.float().sum(), tensors)])
    for exact, rounded in zip(*results, strict=True):
        assert rounded.dtype == dtype
        scale = exact.abs().max().item()
        # Max RoIAlign passes the positions of its maxima in the type of its input.
        tolerance = 4 * torch.finfo(dtype).eps * scale
        torch.testing.assert_close(rounded.float(), exact, rtol=0, atol=tolerance)


def test_channels_last_inputs_give_the_same_results(function: tuple[Callable, tuple]) -> None:
    run, inputs = function
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        tensors = [
            (x.clone(memory_format=layout) if x.ndim == 4 else x.clone()).requires_grad_()
            for x in inputs
        ]
        output = run(*tensors)
        if output.ndim == 4:
            output = output.contiguous(memory_format=layout)
        grad_output = torch.empty_like(output).copy_(pattern(*output.shape, step=53))
        results.append([output, *torch.autograd.grad(output, tensors, grad_output)])
    torch.testing.assert_close(*results)


def test_gradient_of_deform_conv_weights_does_not_depend_on_the_order_of_passes(
    mmcv_ops: ModuleType,
) -> None:
    x, weight = pattern(2, 2, 4, 4, step=37), pattern(2, 2, 3, 3, step=29)
    offset = pattern(2, 18, 4, 4, step=43)

    def grads(*wanted: Tensor) -> list[tuple[Tensor, ...]]:
        output = mmcv_ops.deform_conv2d(x, offset, weight, 1, 1)
        return [torch.autograd.grad(output.sum(), wanted, retain_graph=True) for _ in range(2)]

    weight.requires_grad_()
    [alone, again] = grads(weight)  # without a pass for the input
    x.requires_grad_()
    [both, both_again] = grads(x, weight)
    for other in (again[0], both[1], both_again[1]):
        torch.testing.assert_close(other, alone[0])


def test_offsets_of_a_smaller_map_are_refused() -> None:
    x, offset = pattern(1, 1, 3, 3, step=37), pattern(1, 18, 2, 2, step=43)
    settings = dict.fromkeys(("stride_h", "stride_w", "pad_h", "pad_w"), 1)
    settings |= {"dilation_h": 1, "dilation_w": 1, "kernel_h": 3, "kernel_w": 3}
    settings |= {"group": 1, "deformable_group": 1, "with_bias": False}
    none = x.new_empty(0)
    with pytest.raises(ValueError, match="offset and mask are 2x2, the output is 3x3"):
        mmcv_ext.modulated_deform_conv_forward(
            *(x, pattern(1, 1, 3, 3, step=29), none, none),
            *(offset, offset[:, :9], x.clone(), none),
            **settings,
        )


@pytest.mark.parametrize("values", [1e4, -1e4])
def test_focal_loss_of_certain_predictions_is_finite(values: float, mmcv_ops: ModuleType) -> None:
    logits = torch.full((5, 3), values).requires_grad_()
    loss = mmcv_ops.sigmoid_focal_loss(logits, TARGET, 2.0, 0.25, None, "sum")
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_many_rois_are_pooled_in_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("max_roi_align sampling_ratio=0 aligned=False", "roi_pool scale=0.5")
    names += ("deform_roi_pool sampling_ratio=2 with_offset=True",)
    whole = [op(mmcv_ext, **settings) for op, settings in map(CASES.get, names)]
    monkeypatch.setattr(f"{mmcv_ext.__name__}.shared.CHUNK", 1)
    parts = [op(mmcv_ext, **settings) for op, settings in map(CASES.get, names)]
    torch.testing.assert_close(parts, whole)


EMPTY: dict[str, dict[int, int]] = {
    # Inputs by number, and the dimension that is empty.
    "ms_deform_attn": {1: 1, 2: 1},
    "sigmoid_focal_loss": {0: 0},
    "carafe": {0: 0, 1: 0},
    "psamask": {0: 0},
}


@pytest.mark.parametrize("name", EMPTY)
def test_no_inputs_give_no_outputs(
    name: str, mmcv_ops: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.TARGET", TARGET[:0])
    _, inputs, arguments = FUNCTIONS[name]
    tensors = [x.clone() for x in inputs]
    for number, dimension in EMPTY[name].items():
        tensors[number] = tensors[number].narrow(dimension, 0, 0)
    tensors = [x.requires_grad_() for x in tensors]
    arguments_ = list(arguments(*tensors))
    if name == "sigmoid_focal_loss":
        arguments_[-1] = "sum"
    output = op_of(name)(*arguments_)
    output.sum().backward()
    assert output.numel() == 0 or output == 0
    assert all(x.grad is None or not x.grad.any() for x in tensors)


@pytest.mark.parametrize("name", ["RoIPool", "RoIAlign", "DeformRoIPool"])
def test_no_rois_give_no_outputs(name: str, mmcv_ops: ModuleType) -> None:
    settings = {"pool_mode": "max"} if name == "RoIAlign" else {}
    x = pattern(2, 2, 6, 7, step=37).requires_grad_()
    output = getattr(mmcv_ops, name)((2, 3), 0.3, **settings)(x, ROIS[:0])
    assert output.shape == (0, 2, 2, 3)
    output.sum().backward()
    assert not x.grad.any()


def test_max_roi_align_of_a_roi_without_area_is_zero(mmcv_ops: ModuleType) -> None:
    x = pattern(2, 2, 6, 7, step=37, low=-2, high=-1).requires_grad_()
    output = mmcv_ops.RoIAlign((2, 3), 0.3, 0, "max")(x, ROIS[3:4])
    output.sum().backward()
    assert not output.any()
    assert not x.grad.any()


def test_soft_nms_of_boxes_without_area_gives_scores() -> None:
    boxes, dets = torch.zeros(3, 4), torch.empty(3, 5)
    settings = {"iou_threshold": 0.3, "sigma": 0.5, "min_score": 0.0, "method": 2, "offset": 0}
    kept = mmcv_ext.softnms(boxes, torch.tensor([0.2, 0.9, 0.5]), dets, **settings)
    assert kept.tolist() == [1, 2, 0]
    assert dets[:, 4].tolist() == pytest.approx([0.9, 0.5, 0.2])
    assert mmcv_ext.softnms(boxes[:0], torch.empty(0), dets[:0], **settings).shape == (0,)


def test_soft_nms_takes_boxes_that_require_a_gradient(mmcv_ops: ModuleType) -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 4.1]], requires_grad=True)
    dets, kept = mmcv_ops.soft_nms(boxes, torch.tensor([0.5, 0.9], requires_grad=True))
    assert kept.tolist() == [1, 0]
    assert dets.shape == (2, 5)


def test_suppression_refuses_boxes_the_compiled_op_refuses() -> None:
    boxes = torch.zeros(1, 5).half()
    with pytest.raises(TypeError, match=r"softnms.*float32.*float16"):
        mmcv_ext.softnms(boxes[:, :4], torch.zeros(1), boxes, 0.5, 0.5, 0.1, 2, 0)
    with pytest.raises(TypeError, match=r"nms_match.*float32.*float16"):
        mmcv_ext.nms_match(boxes, 0.5)


def test_synchronized_batch_norm_of_one_process_is_batch_norm(mmcv_ops: ModuleType) -> None:
    from mmcv.ops.sync_bn import SyncBatchNormFunction

    results: list[list[Any]] = []
    for synchronized in (True, False):
        x = pattern(2, 3, 4, 5, step=37).float().requires_grad_()
        weight, bias = (pattern(3, step=step).float().requires_grad_() for step in (29, 31))
        mean, variance = torch.zeros(3), torch.ones(3)
        if synchronized:
            output = SyncBatchNormFunction.apply(
                *(x, mean, variance, weight, bias), *(0.1, 1e-5, None, 1, "default")
            )
        else:
            output = F.batch_norm(x, mean, variance, weight, bias, True, 0.1, 1e-5)
        grads = torch.autograd.grad((output * pattern(*output.shape, step=53)).sum(), (x, weight))
        results.append([output, mean, variance, *grads])
    torch.testing.assert_close(*results)
