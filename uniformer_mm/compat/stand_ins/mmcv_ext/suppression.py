"""Non-maximum suppression."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .shared import float32, no_autocast, torchvision_ops


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Greedy non-maximum suppression.

    Args:
        boxes: (N, 4) x1, y1, x2, y2, compared in float32; the compiled op takes no other type, but
            detectors under bfloat16 autocast on CPUs give it theirs.
        scores: (N,), of any type.
        iou_threshold: A box is dropped if its IoU with a better one is above.
        offset: 0 or 1; a box is `x2 - x1 + offset` wide.

    Returns:
        Indices of the boxes that are kept, best score first.
    """
    boxes = boxes.float()
    if offset:
        # torchvision has no offset: moving x2 and y2 gives the same widths, heights and overlaps.
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    # Sorted here as the compiled op does, because torchvision orders equal scores differently.
    order = scores.sort(descending=True).indices
    descending = torch.arange(scores.numel(), 0, -1, dtype=boxes.dtype, device=boxes.device)
    with no_autocast(boxes):
        kept = torchvision_ops().nms(boxes[order], descending, float32(iou_threshold))
    return order[kept]


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS (https://arxiv.org/abs/1704.04503): overlapping boxes lose score step by step.

    Args:
        boxes: (N, 4) float32 on the CPU, x1, y1, x2, y2.
        scores: (N,) float32 on the CPU.
        dets: (N, 5), overwritten: the boxes that are left and their new scores, best score first.
        iou_threshold: Overlap from which a score falls, by the methods 0 and 1.
        sigma: Width of the Gaussian of method 2.
        min_score: Boxes whose score falls below are dropped.
        method: 0 sets the score to zero, 1 multiplies it by 1 - IoU, 2 by exp(-IoU^2 / sigma).
        offset: 0 or 1; a box is `x2 - x1 + offset` wide.

    Returns:
        Indices of the boxes that are left, in the order of `dets`.
    """
    if boxes.dtype != torch.float32 or scores.dtype != torch.float32:
        raise TypeError(
            "softnms: boxes and scores must be float32, as for the compiled op, got "
            f"{boxes.dtype} and {scores.dtype}"
        )
    # NumPy, whose calls take a tenth of the time of torch's: there are some twenty for each box.
    left = torch.cat([boxes.detach(), scores.detach()[:, None]], 1).numpy()
    indices = np.arange(len(left))
    threshold, width, least = (np.float32(value) for value in (iou_threshold, sigma, min_score))
    number = 0
    while number < len(left):
        best = number + left[number:, 4].argmax()
        swap = np.array([number, best])
        for array in (left, indices):
            array[swap] = array[swap[::-1]]
        number += 1
        overlap = _overlaps(left[number - 1], left[number:], offset)
        if method == 2:
            # In double precision, for the single-precision value of C's exp to the last bit.
            weight = np.exp((-(overlap * overlap) / width).astype(np.float64))
        else:
            weight = np.where(overlap >= threshold, 1 - overlap if method else 0, 1)
        left[number:, 4] *= weight.astype(np.float32)
        # The compiled op fills the place of a dropped box with the last one: this is the order in
        # which equal scores are taken.
        is_dropped = left[number:, 4] < least
        end = len(left) - is_dropped.sum()
        places = number + is_dropped[: end - number].nonzero()[0]
        last = end + (~is_dropped[end - number :]).nonzero()[0][::-1]
        for array in (left, indices):
            array[places] = array[last]
        left, indices = left[:end], indices[:end]
    dets[: len(left)] = torch.from_numpy(left)
    return torch.from_numpy(indices)


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Greedy non-maximum suppression that tells which boxes were dropped for which.

    Args:
        dets: (N, 5) float32 on the CPU, x1, y1, x2, y2, score.
        iou_threshold: A box is dropped if its IoU with a better one is as large or larger.

    Returns:
        For each box that is kept, its index and those of the boxes dropped for it, by score.
    """
    if dets.dtype != torch.float32:
        raise TypeError(
            f"nms_match: dets must be float32, as for the compiled op, got {dets.dtype}"
        )
    order = dets[:, 4].sort(0, descending=True).indices.numpy()
    boxes, threshold = dets.numpy(), np.float32(iou_threshold)
    groups = []
    while len(order):
        dropped = _overlaps(boxes[order[0]], boxes[order[1:]], 0) >= threshold
        groups.append([order[0].item(), *order[1:][dropped].tolist()])
        order = order[1:][~dropped]
    return groups


def _overlaps(box: np.ndarray, boxes: np.ndarray, offset: int) -> np.ndarray:
    """(N,) IoU of one box with (N, 4 or more) others.

    0 for two boxes without area, for which compiled soft-NMS gives scores that are not numbers.
    """
    upper_left = np.maximum(box[:2], boxes[:, :2])
    sides = np.maximum(np.minimum(box[2:4], boxes[:, 2:4]) - upper_left + np.float32(offset), 0)
    common = sides[:, 0] * sides[:, 1]
    box_sides = box[2:4] - box[:2] + np.float32(offset)
    other_sides = boxes[:, 2:4] - boxes[:, :2] + np.float32(offset)
    areas = box_sides[0] * box_sides[1] + other_sides[:, 0] * other_sides[:, 1]
    union = areas - common
    return np.divide(common, union, out=np.zeros_like(common), where=union != 0)
