"""Multi-label scores are averaged after a sigmoid, single-label scores as before."""

import pytest
import torch

pytest.importorskip("mmaction")

from mmaction.models import I3DHead

from uniformer_mm.compat import mmaction_multi_label_scores, repair_stack

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("loss", ["BCELossWithLogits", "CrossEntropyLoss"])
@pytest.mark.parametrize("averaging", ["prob", "score", None])
def test_average_of_views(loss, averaging):
    repair_stack()
    head = I3DHead(3, 4, loss_cls={"type": loss}, average_clips=averaging)
    scores = torch.randn(4, 3)
    views = scores.view(2, 2, 3)
    if averaging == "prob":
        views = views.sigmoid() if loss.startswith("BCE") else views.softmax(-1)
    expected = views if averaging is None else views.mean(1)
    torch.testing.assert_close(head.average_clip(scores, num_segs=2), expected)


def test_losses_that_derive_from_binary_ones_are_known():
    loss_type = type("Own", (type(I3DHead(3, 4, {"type": "BCELossWithLogits"}).loss_cls),), {})
    head = I3DHead(3, 4)
    assert not mmaction_multi_label_scores.has_independent_classes(head)
    head.loss_cls = loss_type()
    assert mmaction_multi_label_scores.has_independent_classes(head)
    assert not mmaction_multi_label_scores.has_independent_classes(None)
