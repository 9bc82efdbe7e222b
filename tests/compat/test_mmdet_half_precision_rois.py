"""Two-stage detectors pool features in half precision at the RoIs they were given."""

import pytest
import torch

pytest.importorskip("mmdet")

from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor

from uniformer_mm.compat import repair_stack
from uniformer_mm.compat.supplying import supplies

pytestmark = pytest.mark.stack

STRIDES = (4, 8)
ROIS = torch.tensor([[0, 1001.3, 61.7, 1030.9, 93.1], [0, 517.2, 18.6, 801.4, 117.5]])


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_pooled_at_the_same_positions(dtype, autocast):
    repair_stack()
    if dtype == torch.float16 and not supplies("mmcv._ext"):
        pytest.skip("compiled ops take float16")
    layer = {"type": "RoIAlign", "output_size": 3, "sampling_ratio": 0}
    extract = SingleRoIExtractor(layer, 2, STRIDES, finest_scale=56)
    halves = [torch.randn(1, 2, 128 // stride, 1056 // stride).to(dtype) for stride in STRIDES]
    results = []
    for features in ([x.float() for x in halves], halves):
        for level in features:
            level.requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            pooled = extract(features, ROIS)
        assert pooled.dtype == features[0].dtype
        results.append([pooled, *torch.autograd.grad(pooled.sum(), features)])
    for exact, half in zip(*results, strict=True):
        tolerance = 2 * torch.finfo(dtype).eps * exact.abs().max()
        torch.testing.assert_close(half.float(), exact, rtol=0, atol=tolerance.item())


def test_single_precision_is_left_alone():
    repair_stack()
    layer = {"type": "RoIAlign", "output_size": 3, "sampling_ratio": 0}
    extract = SingleRoIExtractor(layer, 2, [4])
    features = [torch.randn(1, 2, 32, 264)]
    pooled = extract(features, ROIS)
    assert torch.equal(pooled, extract.roi_layers[0](features[0], ROIS))
