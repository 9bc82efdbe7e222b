"""Non-maximum suppression."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .shared import float32, op, torchvision_ops


@op
def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Greedy non-maximum suppression.

    Args:
        boxes: (N, 4) x1, y1, x2, y2, compared in float32; the compiled op takes no other type, but
            detectors under bfloat16 autocast on CPUs pass bfloat16.
        scores: (N,), of any type.
        iou_threshold: A box is removed if its IoU with a better one is higher.
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
    return order[torchvision_ops().nms(boxes[order], descending, float32(iou_threshold))]


@op
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
    """Soft-NMS (https://arxiv.org/abs/1704.04503): decay the scores of overlapping boxes.

    Args:
        boxes: (N, 4) float32 on the CPU, x1, y1, x2, y2.
        scores: (N,) float32 on the CPU.
        dets: (N, 5), overwritten with the remaining boxes and their new scores, best score first.
        iou_threshold: IoU from which the methods 0 and 1 decay a score.
        sigma: Width of the Gaussian of method 2.
        min_score: Score threshold; boxes below are removed.
        method: 0 sets the score to zero, 1 multiplies it by 1 - IoU, 2 by exp(-IoU^2 / width).
        offset: 0 or 1; a box is `x2 - x1 + offset` wide.

    Returns:
        Indices of the remaining boxes, in the order of `dets`.
    """
    _check_float32("softnms", boxes=boxes, scores=scores)
    # A NumPy call takes a tenth of the time of one of torch, and each box needs about twenty.
    remaining = torch.cat([boxes.detach(), scores.detach()[:, None]], 1).numpy()
    indices = np.arange(len(remaining))
    threshold, width, lowest = map(np.float32, (iou_threshold, sigma, min_score))
    number = 0
    while number < len(remaining):
        best = number + remaining[number:, 4].argmax()
        swap = np.array([number, best])
        for array in (remaining, indices):
            array[swap] = array[swap[::-1]]
        number += 1
        overlap = _overlaps(remaining[number - 1], remaining[number:], offset)
        if method == 2:
            # In double precision, for the single-precision value of C's exp to the last bit.
            weight = np.exp((-(overlap * overlap) / width).astype(np.float64))
        else:
            weight = np.where(overlap >= threshold, 1 - overlap if method else 0, 1)
        remaining[number:, 4] *= weight.astype(np.float32)
        # The compiled op fills the place of a removed box with the last one, which decides the
        # order of equal scores.
        is_removed = remaining[number:, 4] < lowest
        end = len(remaining) - is_removed.sum()
        places = number + is_removed[: end - number].nonzero()[0]
        last = end + (~is_removed[end - number :]).nonzero()[0][::-1]
        for array in (remaining, indices):
            array[places] = array[last]
        remaining, indices = remaining[:end], indices[:end]
    dets[: len(remaining)] = torch.from_numpy(remaining)
    return torch.from_numpy(indices)


@op
def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Greedy non-maximum suppression that returns which boxes were removed by which.

    Args:
        dets: (N, 5) float32 on the CPU, x1, y1, x2, y2, score.
        iou_threshold: A box is removed if its IoU with a better one is equal or higher.

    Returns:
        For each box that is kept, its index and those of the boxes removed by it, by score.
    """
    _check_float32("nms_match", dets=dets)
    order = dets[:, 4].sort(0, descending=True).indices.numpy()
    boxes, threshold = dets.numpy(), np.float32(iou_threshold)
    groups = []
    while len(order):
        removed = _overlaps(boxes[order[0]], boxes[order[1:]], 0) >= threshold
        groups.append([order[0].item(), *order[1:][removed].tolist()])
        order = order[1:][~removed]
    return groups


def _check_float32(name: str, **tensors: Tensor) -> None:
    """Refuse the types that the compiled op refuses."""
    for argument, tensor in tensors.items():
        if tensor.dtype != torch.float32:
            raise TypeError(f"{name}: {argument} must be float32, not {tensor.dtype}")


def _overlaps(box: np.ndarray, boxes: np.ndarray, offset: int) -> np.ndarray:
    """(N,) IoU of one box with (N, 4 or more) others.

    It is 0 for two boxes without area, for which compiled soft-NMS gives NaN scores.
    """
    upper_left = np.maximum(box[:2], boxes[:, :2])
    sides = np.maximum(np.minimum(box[2:4], boxes[:, 2:4]) - upper_left + np.float32(offset), 0)
    common = sides[:, 0] * sides[:, 1]
    box_sides = box[2:4] - box[:2] + np.float32(offset)
    other_sides = boxes[:, 2:4] - boxes[:, :2] + np.float32(offset)
    areas = box_sides[0] * box_sides[1] + other_sides[:, 0] * other_sides[:, 1]
    union = areas - common
    return np.divide(common, union, out=np.zeros_like(common), where=union != 0)
