"""The stand-in matches the compiled mmcv 2.1.0, recorded in compiled_mmcv_ops.json."""

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

pytestmark = pytest.mark.stack

COMPILED = json.loads(Path(__file__).with_name("compiled_mmcv_ops.json").read_text())
ROIS = torch.tensor(COMPILED["roi_align"]["rois"])


def pattern(*shape: int, step: int) -> Tensor:
    """Values that look irregular and are exact in float32."""
    return (torch.arange(math.prod(shape)) * step % 101 / 64 - 0.75).reshape(shape)


def nms(boxes: Tensor, scores: Tensor, threshold: float = 0.5, offset: int = 0) -> list[int]:
    kept = mmcv_ext.nms(boxes, scores, iou_threshold=threshold, offset=offset)
    assert kept.dtype == torch.int64
    return kept.tolist()


def roi_align(
    features: Tensor,
    rois: Tensor = ROIS,
    scale: float = 0.3,
    ratio: int = 0,
    aligned: bool = True,
    start: float = 0,
) -> list[Tensor]:
    """Output, and gradient of the features added to `start`, in their type."""
    output = features.new_full((len(rois), features.shape[1], 2, 3), math.nan)
    grad_input = torch.full_like(features, start)
    settings = {"aligned_height": 2, "aligned_width": 3, "pool_mode": 1}
    settings |= {"spatial_scale": scale, "sampling_ratio": ratio, "aligned": aligned}
    argmax = torch.empty(0)
    mmcv_ext.roi_align_forward(features, rois, output, argmax, argmax, **settings)
    grad = pattern(*output.shape, step=29).to(output.dtype)
    mmcv_ext.roi_align_backward(grad, rois, argmax, argmax, grad_input, **settings)
    return [output, grad_input]


def assert_compiled(results: list[Tensor], case: dict) -> None:
    # Bit-equal where it was measured; the tolerance is for compilers that fuse multiply and add.
    for result, name in zip(results, ("output", "grad_input"), strict=True):
        expected = torch.tensor(case[name])
        torch.testing.assert_close(result.flatten(), expected, rtol=1e-6, atol=1e-7)


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
    assert nms(boxes, scores, case["iou_threshold"], case["offset"]) == case["kept"]


def test_nms_compares_in_single_precision() -> None:
    # Their IoU is 0.6 in float32, above 0.6 in float64: only the compiled comparison keeps both.
    boxes = torch.tensor([[0.0, 0, 10, 5], [0, 0, 10, 3]])
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.6) == [0, 1]


def test_nms_orders_equal_scores_as_the_compiled_op() -> None:
    corners = torch.arange(300.0)[:, None] * 2
    boxes = torch.cat([corners, corners, corners + 1, corners + 1], 1)
    scores = (torch.arange(300) * 37 % 10) / 10
    assert nms(boxes, scores) == scores.sort(0, descending=True).indices.tolist()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("offset", [0, 1])
def test_nms_takes_boxes_and_scores_of_any_type(dtype: torch.dtype, offset: int) -> None:
    boxes = torch.tensor([[0, 0, 300, 300], [1, 0, 301, 300], [0, 200, 100, 500]], dtype=dtype)
    scores = torch.tensor([0.5, 0.9, 0.7], dtype=dtype)
    assert nms(boxes, scores, 0.5, offset) == nms(boxes.float(), scores, 0.5, offset) == [1, 2]


def test_nms_of_no_boxes_is_empty() -> None:
    assert nms(torch.empty(0, 4), torch.empty(0)) == []


@pytest.mark.parametrize("case", COMPILED["roi_align"]["cases"])
def test_roi_align_equals_the_compiled_op(case: dict) -> None:
    features = pattern(2, 1, 5, 6, step=37)
    settings = {"ratio": case["sampling_ratio"], "aligned": case["aligned"]}
    assert_compiled(roi_align(features, **settings), case)


def test_roi_align_of_no_rois_leaves_the_gradient_zero() -> None:
    output, grad_input = roi_align(pattern(2, 1, 5, 6, step=37), ROIS[:0])
    assert output.shape == (0, 1, 2, 3)
    assert not grad_input.any()


def test_roi_align_backward_adds_to_the_gradient() -> None:
    features = pattern(2, 1, 5, 6, step=37)
    torch.testing.assert_close(roi_align(features, start=1)[1], roi_align(features)[1] + 1)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(
    ("features_type", "rois_type"),
    [
        (torch.float16, torch.float16),
        (torch.bfloat16, torch.bfloat16),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.bfloat16),
        (torch.float16, torch.float32),
        (torch.float16, torch.bfloat16),
        (torch.float32, torch.float64),
    ],
)
def test_roi_align_of_half_precision_or_mixed_types_is_computed_in_single_precision(
    features_type: torch.dtype, rois_type: torch.dtype, autocast: bool
) -> None:
    features, rois = pattern(2, 1, 5, 6, step=37).to(features_type), ROIS.to(rois_type)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        results = roi_align(features, rois)
    expected = roi_align(features.double(), rois.double())
    precision = torch.finfo(features_type).eps
    for actual, exact in zip(results, expected, strict=True):
        torch.testing.assert_close(actual.double(), exact, rtol=precision, atol=1e-6)


def test_roi_align_rounds_its_scale_to_single_precision() -> None:
    features, rois = pattern(2, 1, 5, 6, step=37).double(), ROIS.double()
    outputs = [roi_align(features, rois, scale)[0] for scale in (0.3, torch.tensor(0.3).item())]
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
    "content", ["raise RuntimeError('operator nms is absent')", "raise ImportError('no .so')", ""]
)
def test_broken_torchvision_is_reported_with_its_cause(
    content: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "torchvision.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(torch.ops, "torchvision", ModuleType("torchvision"))
    cause = content.split("'")[1] if content else "has no attribute 'nms'"
    with pytest.raises(RuntimeError, match=f"{cause}.*torch and torchvision from the same place"):
        nms(torch.zeros(1, 4), torch.zeros(1))


def test_mmcv_ops_run_on_the_stand_in(mmcv_ops: ModuleType) -> None:
    case = COMPILED["roi_align"]["cases"][0]
    features = pattern(2, 1, 5, 6, step=37).requires_grad_()
    align = mmcv_ops.RoIAlign((2, 3), 0.3, case["sampling_ratio"], aligned=case["aligned"])
    output = align(features, ROIS)
    output.backward(pattern(3, 1, 2, 3, step=29))
    assert_compiled([output, features.grad], case)

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


@pytest.mark.slow
def test_environment_report_says_not_compiled(all_codebases: dict[str, str]) -> None:
    if all_codebases["ext_file"] != str(STAND_INS / "mmcv_ext" / "__init__.py"):
        pytest.skip("mmcv has compiled ops")
    assert all_codebases["compiler"] == "n/a"


@pytest.mark.slow
def test_compiled_mmcv_takes_precedence(run_python: Callable, tmp_path: Path) -> None:
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
