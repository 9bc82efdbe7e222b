"""Masks of boxes outside of the image are pasted, and are empty."""

import pytest
import torch

pytest.importorskip("mmdet")

from mmdet.models.roi_heads.mask_heads import fcn_mask_head

from uniformer_mm.compat import repair_stack

pytestmark = pytest.mark.stack


@pytest.mark.parametrize(
    "box",
    [(50, 2, 60, 9), (2, 50, 9, 60), (-9, 2, -3, 9), (2, -9, 9, -3), (40, 2, 42, 9), (-2, 2, 0, 9)],
    ids=["right", "below", "left", "above", "touching on the right", "touching on the left"],
)
def test_mask_of_a_box_outside_of_the_image_is_empty(box):
    repair_stack()
    masks, boxes, image = torch.ones(1, 1, 4, 4), torch.tensor([box]).float(), torch.zeros(30, 40)
    pasted, place = fcn_mask_head._do_paste_mask(masks, boxes, 30, 40, skip_empty=True)
    on_gpu, _ = fcn_mask_head._do_paste_mask(masks, boxes, 30, 40, skip_empty=False)
    image[place] = pasted[0]
    torch.testing.assert_close(image, on_gpu[0])
    assert not (image > 0.5).any()


def test_mask_of_a_box_inside_is_pasted_into_its_part_of_the_image():
    repair_stack()
    box = torch.tensor([[10.0, 5, 20, 15]])
    pasted, place = fcn_mask_head._do_paste_mask(torch.ones(1, 1, 4, 4), box, 30, 40)
    assert place == (slice(4, 16), slice(9, 21))
    assert pasted.shape == (1, 12, 12)
