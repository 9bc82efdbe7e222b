"""The stand-in gives what the compiled mmcv 2.1.0 gave, see compiled_mmcv_ops.json."""

import importlib
import json
import math
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from uniformer_mm import compat
from uniformer_mm.compat import mmcv_ext_missing
from uniformer_mm.compat.stand_ins import mmcv_ext
from uniformer_mm.compat.supplying import STAND_INS

pytestmark = pytest.mark.slow

COMPILED = json.loads(Path(__file__).with_name("compiled_mmcv_ops.json").read_text())
ROIS = torch.tensor(COMPILED["roi_align"]["rois"])
ROI_SETTINGS = {
    "aligned_height": 2,
    "aligned_width": 3,
    "spatial_scale": 0.3,
    "sampling_ratio": 0,
    "pool_mode": 1,
    "aligned": True,
}
NO_ARGMAX = torch.empty(0)


def pattern(*shape: int, step: int) -> Tensor:
    """Values that look irregular and are exact in float32."""
    return (torch.arange(math.prod(shape)) * step % 101 / 64 - 0.75).reshape(shape)


@pytest.fixture(scope="module")
def mmcv_ops() -> ModuleType:
    """`mmcv.ops` on top of the stand-in."""
    compat.apply(mmcv_ext_missing)
    if not compat.is_active(mmcv_ext_missing):
        pytest.skip("mmcv is missing or has compiled ops")
    return importlib.import_module("mmcv.ops")


@pytest.mark.parametrize("case", COMPILED["nms"]["cases"])
def test_nms_keeps_what_the_compiled_op_keeps(case: dict) -> None:
    boxes, scores = (torch.tensor(COMPILED["nms"][name]) for name in ("boxes", "scores"))
    kept = mmcv_ext.nms(boxes, scores, case["iou_threshold"], case["offset"])
    assert kept.tolist() == case["kept"]
    assert kept.dtype == torch.int64


def test_nms_compares_in_single_precision() -> None:
    # Their IoU is 0.6 in float32, above 0.6 in float64: only the compiled comparison keeps both.
    boxes = torch.tensor([[0.0, 0, 10, 5], [0, 0, 10, 3]])
    assert mmcv_ext.nms(boxes, torch.tensor([0.9, 0.8]), iou_threshold=0.6, offset=0).tolist() == [
        0,
        1,
    ]


def test_nms_orders_equal_scores_as_the_compiled_op() -> None:
    corners = torch.arange(300.0)[:, None] * 2
    boxes = torch.cat([corners, corners, corners + 1, corners + 1], 1)
    scores = (torch.arange(300) * 37 % 10) / 10
    kept = mmcv_ext.nms(boxes, scores, iou_threshold=0.5, offset=0)
    assert torch.equal(kept, scores.sort(0, descending=True).indices)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_nms_takes_scores_of_any_type(dtype: torch.dtype) -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 4.1], [8, 8, 9, 9]])
    scores = torch.tensor([0.5, 0.9, 0.7], dtype=dtype)
    assert mmcv_ext.nms(boxes, scores, iou_threshold=0.5, offset=0).tolist() == [1, 2]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("offset", [0, 1])
def test_nms_takes_boxes_of_any_type(dtype: torch.dtype, offset: int) -> None:
    boxes = torch.tensor([[0, 0, 300, 300], [1, 0, 301, 300], [0, 200, 100, 500]], dtype=dtype)
    scores = torch.tensor([0.5, 0.9, 0.7], dtype=dtype)
    assert mmcv_ext.nms(boxes, scores, iou_threshold=0.5, offset=offset).tolist() == [1, 2]


def test_nms_of_no_boxes_keeps_none() -> None:
    kept = mmcv_ext.nms(torch.empty(0, 4), torch.empty(0), 0.5, 0)
    assert kept.shape == (0,)
    assert kept.dtype == torch.int64


@pytest.mark.parametrize("case", COMPILED["roi_align"]["cases"])
def test_roi_align_equals_the_compiled_op(case: dict) -> None:
    settings = ROI_SETTINGS | {name: case[name] for name in ("sampling_ratio", "aligned")}
    output = torch.full((3, 1, 2, 3), math.nan)
    mmcv_ext.roi_align_forward(
        pattern(2, 1, 5, 6, step=37), ROIS, output, NO_ARGMAX, NO_ARGMAX, **settings
    )
    grad_input = torch.zeros(2, 1, 5, 6)
    mmcv_ext.roi_align_backward(
        pattern(3, 1, 2, 3, step=29), ROIS, NO_ARGMAX, NO_ARGMAX, grad_input, **settings
    )
    # Bit-equal where it was measured; the tolerance is for compilers that fuse multiply and add.
    expected = [torch.tensor(case[name]) for name in ("output", "grad_input")]
    torch.testing.assert_close(output.flatten(), expected[0], rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(grad_input.flatten(), expected[1], rtol=1e-6, atol=1e-7)


def test_roi_align_backward_adds_to_the_gradient() -> None:
    first = torch.zeros(2, 1, 5, 6)
    both = torch.ones(2, 1, 5, 6)
    for grad_input in (first, both):
        mmcv_ext.roi_align_backward(
            pattern(3, 1, 2, 3, step=29), ROIS, NO_ARGMAX, NO_ARGMAX, grad_input, **ROI_SETTINGS
        )
    assert first.abs().sum() > 0
    torch.testing.assert_close(both, first + 1)


def test_roi_align_of_no_rois_leaves_the_gradient_zero() -> None:
    output = torch.empty(0, 1, 2, 3)
    mmcv_ext.roi_align_forward(
        pattern(2, 1, 5, 6, step=37), ROIS[:0], output, NO_ARGMAX, NO_ARGMAX, **ROI_SETTINGS
    )
    grad_input = torch.zeros(2, 1, 5, 6)
    mmcv_ext.roi_align_backward(output, ROIS[:0], NO_ARGMAX, NO_ARGMAX, grad_input, **ROI_SETTINGS)
    assert not grad_input.any()


def test_roi_align_reads_channels_last_features() -> None:
    features = pattern(2, 3, 5, 6, step=37)
    outputs = [torch.empty(3, 3, 2, 3) for _ in range(2)]
    for format, output in zip((torch.contiguous_format, torch.channels_last), outputs, strict=True):
        mmcv_ext.roi_align_forward(
            features.contiguous(memory_format=format),
            ROIS,
            output,
            NO_ARGMAX,
            NO_ARGMAX,
            **ROI_SETTINGS,
        )
    assert torch.equal(*outputs)


@pytest.mark.parametrize("autocast", [False, True])
def test_roi_align_computes_in_the_type_of_its_input(autocast: bool) -> None:
    features = pattern(2, 1, 5, 6, step=37)
    half, single = (torch.zeros(3, 1, 2, 3, dtype=torch.float16) for _ in range(2))
    with torch.autocast("cpu", enabled=autocast):
        mmcv_ext.roi_align_forward(
            features.half(), ROIS.half(), half, NO_ARGMAX, NO_ARGMAX, **ROI_SETTINGS
        )
    mmcv_ext.roi_align_forward(
        features.half().float(), ROIS.half().float(), single, NO_ARGMAX, NO_ARGMAX, **ROI_SETTINGS
    )
    torch.testing.assert_close(half, single, rtol=0, atol=5e-3)
    assert not torch.equal(half, single)  # float32 arithmetic would have given the same values


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(
    ("features_type", "rois_type"),
    [
        (torch.bfloat16, torch.bfloat16),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.bfloat16),
        (torch.float16, torch.float32),
        (torch.float16, torch.bfloat16),
        (torch.float32, torch.float64),
    ],
)
def test_roi_align_of_types_that_the_compiled_op_refuses(
    features_type: torch.dtype, rois_type: torch.dtype, autocast: bool
) -> None:
    features = pattern(2, 1, 5, 6, step=37).to(features_type)
    grad = pattern(3, 1, 2, 3, step=29).to(features_type)
    rois = ROIS.to(rois_type)
    expected, expected_grad = torch.zeros(3, 1, 2, 3).double(), torch.zeros(2, 1, 5, 6).double()
    no_argmax = (NO_ARGMAX, NO_ARGMAX)
    mmcv_ext.roi_align_forward(
        features.double(), rois.double(), expected, *no_argmax, **ROI_SETTINGS
    )
    mmcv_ext.roi_align_backward(
        grad.double(), rois.double(), *no_argmax, expected_grad, **ROI_SETTINGS
    )
    output, grad_input = expected.to(features_type) * 0, expected_grad.to(features_type) * 0
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        mmcv_ext.roi_align_forward(features, rois, output, *no_argmax, **ROI_SETTINGS)
        mmcv_ext.roi_align_backward(grad, rois, *no_argmax, grad_input, **ROI_SETTINGS)
    precision = torch.finfo(features_type).eps
    for actual, exact in ((output, expected), (grad_input, expected_grad)):
        torch.testing.assert_close(actual.double(), exact, rtol=precision, atol=1e-6)


def test_roi_align_rounds_its_scale_to_single_precision() -> None:
    features = pattern(2, 1, 5, 6, step=37).double()
    outputs = [torch.empty(3, 1, 2, 3).double() for _ in range(2)]
    for scale, output in zip((0.3, torch.tensor(0.3).item()), outputs, strict=True):
        settings = ROI_SETTINGS | {"spatial_scale": scale}
        mmcv_ext.roi_align_forward(
            features, ROIS.double(), output, NO_ARGMAX, NO_ARGMAX, **settings
        )
    assert torch.equal(*outputs)


@pytest.mark.parametrize("op", ["prroi_pool_forward", "tin_shift_backward", "nms_rotated"])
def test_any_other_op_names_itself_and_the_remedy(op: str) -> None:
    with pytest.raises(NotImplementedError) as raised:
        getattr(mmcv_ext, op)(torch.zeros(1), group=1)
    message = str(raised.value)
    assert f"`{op}`" in message
    assert "without compiled ops" in message
    assert "pip install --no-build-isolation mmcv==2.1.0" in message
    assert "mim install" in message


def test_table_of_the_docs_names_the_ops_that_are_supplied() -> None:
    page = (Path(__file__).parents[2] / "docs" / "install.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    in_docs = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    supplied = {re.sub("_(forward|backward)(_.*)?$", "", name) for name in mmcv_ext.OPS}
    assert in_docs == supplied


def test_private_names_are_missing_as_in_any_module() -> None:
    assert not hasattr(mmcv_ext, "__wrapped__")
    assert not hasattr(mmcv_ext, "_repr_html_")
    assert pickle.loads(pickle.dumps(mmcv_ext.nms)) is mmcv_ext.nms


@pytest.mark.parametrize(
    "error", ["RuntimeError('operator torchvision::nms does not exist')", "ImportError('no .so')"]
)
def test_broken_torchvision_is_reported_with_its_cause(
    error: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "torchvision.py").write_text(f"raise {error}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    cause = error.split("'")[1]
    with pytest.raises(RuntimeError, match=f"{cause}.*torch and torchvision from the same place"):
        mmcv_ext.nms(torch.zeros(1, 4), torch.zeros(1), 0.5, 0)


def test_torchvision_without_operators_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops, "torchvision", ModuleType("torchvision"))
    with pytest.raises(RuntimeError, match=r"has no attribute 'nms'.*from the same place"):
        mmcv_ext.nms(torch.zeros(1, 4), torch.zeros(1), 0.5, 0)


def test_mmcv_ops_run_on_the_stand_in(mmcv_ops: ModuleType) -> None:
    case = COMPILED["roi_align"]["cases"][0]
    features = pattern(2, 1, 5, 6, step=37).requires_grad_()
    align = mmcv_ops.RoIAlign((2, 3), 0.3, case["sampling_ratio"], aligned=case["aligned"])
    output = align(features, ROIS)
    output.backward(pattern(3, 1, 2, 3, step=29))
    expected = [torch.tensor(case[name]) for name in ("output", "grad_input")]
    torch.testing.assert_close(output.flatten(), expected[0], rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(features.grad.flatten(), expected[1], rtol=1e-6, atol=1e-7)

    boxes, scores = (torch.tensor(COMPILED["nms"][name]) for name in ("boxes", "scores"))
    kept = COMPILED["nms"]["cases"][0]["kept"]
    dets, indices = mmcv_ops.nms(boxes, scores, iou_threshold=0.3)
    assert indices.tolist() == kept
    assert torch.equal(dets[:, 4], scores[kept])


def test_mmengine_sees_the_ops(mmcv_ops: ModuleType) -> None:
    from mmengine.model import revert_sync_batchnorm
    from mmengine.utils.dl_utils import mmcv_full_available

    assert mmcv_full_available()
    model = revert_sync_batchnorm(torch.nn.Sequential(torch.nn.SyncBatchNorm(2)))
    assert model(torch.zeros(2, 2, 3, 3)).shape == (2, 2, 3, 3)


def test_environment_report_says_not_compiled(all_codebases: dict[str, str]) -> None:
    if all_codebases["ext_file"] != str(STAND_INS / "mmcv_ext" / "__init__.py"):
        pytest.skip("mmcv has compiled ops")
    assert all_codebases["compiler"] == "n/a"


def test_compiled_mmcv_stays_in_charge(run_python: Callable, tmp_path: Path) -> None:
    pytest.importorskip("mmcv")
    compiled = tmp_path / "_ext.py"
    compiled.write_text(
        "import torch\n"
        "def nms(boxes, scores, iou_threshold, offset): return torch.tensor([7])\n"
        "def __getattr__(name): return nms\n"
    )
    result = run_python(
        "from uniformer_mm.compat import repair_stack; repair_stack()\n"
        f"import mmcv; mmcv.__path__.insert(0, {str(tmp_path)!r})\n"
        "import sys, torch, mmcv.ops; module = sys.modules['mmcv.ops.nms']\n"
        "print(module.ext_module.__file__)\n"
        "print(module.NMSop.apply(torch.zeros(1, 4), torch.zeros(1), 0.5, 0, 0, -1).item())\n"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [str(compiled), "7"]


def test_broken_compiled_mmcv_fails_with_its_own_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mmcv = pytest.importorskip("mmcv")
    compat.apply(mmcv_ext_missing)
    (tmp_path / "_ext.py").write_text("raise ImportError('undefined symbol: made for old torch')")
    monkeypatch.setattr(mmcv, "__path__", [str(tmp_path), *mmcv.__path__])
    monkeypatch.delitem(sys.modules, "mmcv._ext", raising=False)
    with pytest.raises(ImportError, match="undefined symbol: made for old torch"):
        importlib.import_module("mmcv._ext")
