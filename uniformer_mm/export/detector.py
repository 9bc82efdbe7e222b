"""Two-stage detectors from a normalized image to detections, in tensors only.

mmdet's own code between the heads builds Python objects, which no graph holds. The backbone, the
neck and the heads are the detector's.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import nms, roi_align

from uniformer_mm.errors import UserError

MASKS = ("image", "box")
"""Forms of masks: binary of the size of the image, or probabilities on a grid in the box."""

Size = tuple[Any, Any]
"""Height and width: integers, or symbols while a graph is traced."""


class Detector(nn.Module):
    """Faster R-CNN, Mask R-CNN or Cascade (Mask) R-CNN for one image.

    Args:
        model: The detector of mmdet; its modules are shared.
        masks: One of `MASKS`.

    Raises:
        UserError: A part of the detector is of a type that this class has no equivalent of.
    """

    def __init__(self, model: Any, masks: str = "image") -> None:
        super().__init__()
        check_detector(model)
        self.model = model
        self.masks = masks
        self.divisor = getattr(model.data_preprocessor, "pad_size_divisor", 1)
        self.pad_value = getattr(model.data_preprocessor, "pad_value", 0)
        roi_head = model.roi_head
        self.box_heads = _as_list(roi_head.bbox_head)
        self.box_extractors = _as_list(roi_head.bbox_roi_extractor)
        self.mask_heads = _as_list(roi_head.mask_head) if roi_head.with_mask else []
        # A head that shares its extractor has that of the boxes.
        self.mask_extractors = _as_list(roi_head.mask_roi_extractor) if roi_head.with_mask else []

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs."""
        return ["boxes", "scores", "labels", *(["masks"] if self.mask_heads else [])]

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """A normalized image (1, 3, H, W) to detections in its pixels, highest score first.

        Returns:
            Boxes (N, 4) as x1, y1, x2, y2, scores (N,), labels (N,), and, with a mask head, masks
            (N, H, W) or probabilities (N, cells, cells) on a grid in the box.
        """
        height, width = inputs.shape[-2:]
        below, right = -height % self.divisor, -width % self.divisor
        features = self.model.extract_feat(
            F.pad(inputs, (0, right, 0, below), value=self.pad_value)
        )
        proposals = self.propose(features, (height, width))
        boxes, scores, labels = self.detect(features, proposals, (height, width))
        if not self.mask_heads:
            return boxes, scores, labels
        masks = self.segment(features, boxes, labels)
        if self.masks == "image":
            threshold = self.model.roi_head.test_cfg.mask_thr_binary
            masks = paste(masks, boxes, (height, width)) >= threshold
        return boxes, scores, labels, masks

    def propose(self, features: Sequence[Tensor], size: Size) -> Tensor:
        """Maps of the neck to proposals (N, 4) of the RPN in an image of a size."""
        head = self.model.rpn_head
        cfg = head.test_cfg
        logits, deltas = head(features)
        anchors = head.prior_generator.grid_priors(
            [x.shape[-2:] for x in logits], device=features[0].device
        )
        candidates = []
        for level in range(len(logits)):
            scores = logits[level].permute(0, 2, 3, 1).reshape(-1, head.cls_out_channels)
            scores = scores.sigmoid()[:, 0] if head.use_sigmoid_cls else scores.softmax(-1)[:, 0]
            limit = torch.sym_min(scores.shape[0], cfg.nms_pre) if cfg.nms_pre > 0 else len(scores)
            scores, kept = scores.topk(limit)
            changes = deltas[level].permute(0, 2, 3, 1).reshape(-1, 4)
            boxes = decode(head.bbox_coder, anchors[level][kept], changes[kept], size)
            candidates.append((boxes, scores, torch.full_like(kept, level)))
        boxes, scores, levels = (torch.cat(parts) for parts in zip(*candidates, strict=True))
        if cfg.get("min_bbox_size", -1) >= 0:
            sides = boxes[:, 2:] - boxes[:, :2]
            large = (sides > cfg.min_bbox_size).all(1).nonzero()[:, 0]
            boxes, scores, levels = boxes[large], scores[large], levels[large]
        return boxes[suppress(boxes, scores, levels, cfg.nms)[: cfg.max_per_img]]

    def detect(
        self, features: Sequence[Tensor], proposals: Tensor, size: Size
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Proposals (N, 4) to boxes (M, 4), scores (M,) and labels (M,) of objects."""
        cfg = self.model.roi_head.test_cfg
        logits = []
        for stage, (head, extractor) in enumerate(
            zip(self.box_heads, self.box_extractors, strict=True)
        ):
            class_logits, deltas = head(_spare(pool(extractor, features, proposals)))
            class_logits, deltas = class_logits[:-1], deltas[:-1]
            deltas = deltas.unflatten(1, (-1, 4))
            logits.append(class_logits)
            if stage + 1 < len(self.box_heads):
                if not head.reg_class_agnostic:
                    best = class_logits[:, :-1].argmax(1)
                    deltas = deltas[torch.arange(best.shape[0]).to(best), best][:, None]
                proposals = decode(head.bbox_coder, proposals, deltas[:, 0], size)
        scores = (sum(logits) / len(logits)).softmax(-1)[:, :-1]
        boxes = decode(head.bbox_coder, proposals[:, None], deltas, size)
        boxes = boxes.expand(-1, scores.shape[1], -1).reshape(-1, 4)
        candidates = (scores.reshape(-1) > cfg.score_thr).nonzero()[:, 0]
        labels = candidates % scores.shape[1]
        boxes, scores = boxes[candidates], scores.reshape(-1)[candidates]
        kept = suppress(boxes, scores, labels, cfg.nms)
        if cfg.max_per_img > 0:
            kept = kept[: cfg.max_per_img]
        return boxes[kept], scores[kept], labels[kept]

    def segment(self, features: Sequence[Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
        """Boxes (N, 4) and labels (N,) to probabilities (N, cells, cells) on a grid in each."""
        stages = []
        for head, extractor in zip(self.mask_heads, self.mask_extractors, strict=True):
            logits = head(_spare(pool(extractor, features, boxes)))[:-1]
            chosen = torch.zeros_like(labels) if head.class_agnostic else labels
            stages.append(logits[torch.arange(labels.shape[0]).to(labels), chosen].sigmoid())
        return sum(stages) / len(stages)


def check_detector(model: Any) -> None:
    """Check that `Detector` has an equivalent of all parts of a detector.

    Raises:
        UserError: It has not.
    """
    from mmdet.models import roi_heads, task_modules
    from mmdet.models.dense_heads import RPNHead
    from mmdet.models.detectors import TwoStageDetector

    def check(part: Any, *allowed: type) -> None:
        if type(part) not in allowed:
            raise UserError(
                f"--part model: {type(part).__name__} cannot be exported, only"
                f" {', '.join(kind.__name__ for kind in allowed)}; use --part neck"
            )

    if not isinstance(model, TwoStageDetector):
        raise UserError(
            f"--part model: {type(model).__name__} is not a two-stage detector; use --part neck"
        )
    check(model.rpn_head, RPNHead)
    head = model.roi_head
    check(head, roi_heads.StandardRoIHead, roi_heads.CascadeRoIHead)
    box_heads = _as_list(head.bbox_head)
    for part in box_heads:
        check(
            part,
            roi_heads.ConvFCBBoxHead,
            roi_heads.Shared2FCBBoxHead,
            roi_heads.Shared4Conv1FCBBoxHead,
        )
    for part in (model.rpn_head, *box_heads):
        check(part.bbox_coder, task_modules.DeltaXYWHBBoxCoder)
    extractors = _as_list(head.bbox_roi_extractor)
    if head.with_mask:
        extractors += _as_list(head.mask_roi_extractor)
        for part in _as_list(head.mask_head):
            check(part, roi_heads.FCNMaskHead)
    for extractor in extractors:
        check(extractor, roi_heads.SingleRoIExtractor)
    for name, cfg in (("rpn", model.rpn_head.test_cfg), ("rcnn", head.test_cfg)):
        unknown = set(cfg.nms) - {"type", "iou_threshold", "class_agnostic", "split_thr"}
        if cfg.nms.get("type", "nms") != "nms" or unknown:
            raise UserError(
                f"--part model: model.test_cfg.{name}.nms={dict(cfg.nms)} cannot be exported, only"
                " dict(type='nms', iou_threshold=...)"
            )


def decode(coder: Any, boxes: Tensor, deltas: Tensor, size: Size) -> Tensor:
    """Boxes (..., 4) moved by the outputs (..., 4) of a head and clipped to an image.

    As `mmdet.models.task_modules.DeltaXYWHBBoxCoder`, for any number of boxes.
    """
    deltas = deltas * deltas.new_tensor(coder.stds) + deltas.new_tensor(coder.means)
    center = (boxes[..., :2] + boxes[..., 2:]) * 0.5
    sides = boxes[..., 2:] - boxes[..., :2]
    center = center + sides * deltas[..., :2]
    limit = -math.log(16 / 1000)  # mmdet's wh_ratio_clip
    sides = sides * deltas[..., 2:].clamp(-limit, limit).exp()
    corners = torch.cat([center - sides * 0.5, center + sides * 0.5], -1)
    if not coder.clip_border:
        return corners
    height, width = size
    across, down = corners[..., 0::2].clamp(0, width), corners[..., 1::2].clamp(0, height)
    return torch.stack([across, down], -1).flatten(-2)


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, cfg: Any) -> Tensor:
    """Non-maximum suppression within groups; indices of what stays, highest score first.

    Boxes of a group are moved away from those of the others, as in mmcv: in single precision that
    decides about overlaps close to the threshold.
    """
    if not cfg.get("class_agnostic", False):
        # With a zero there is a maximum if there are no boxes.
        largest = torch.cat([boxes.flatten(), boxes.new_zeros(1)]).max()
        boxes = boxes + (groups.to(boxes) * (largest + 1))[:, None]
    return nms(boxes, scores, cfg.iou_threshold)


def pool(extractor: Any, features: Sequence[Tensor], boxes: Tensor) -> Tensor:
    """Features (N, C, height, width) of boxes (N, 4), each from the level for its size.

    As `mmdet.models.roi_heads.SingleRoIExtractor`.
    """
    layers = extractor.roi_layers
    sides = boxes[:, 2:] - boxes[:, :2]
    scale = sides.prod(1).sqrt() / extractor.finest_scale + 1e-6
    # The level is the logarithm to base 2, rounded down, between the first and the last one.
    levels = sum((scale >= 2**level).long() for level in range(1, len(layers)))
    found, order = [], []
    rois = F.pad(boxes, (1, 0))  # of image 0
    for level, layer in enumerate(layers):
        chosen = (levels == level).nonzero()[:, 0]
        found.append(
            roi_align(
                features[level],
                rois[chosen],
                layer.output_size,
                layer.spatial_scale,
                layer.sampling_ratio,
                layer.aligned,
            )
        )
        order.append(chosen)
    return torch.cat(found)[torch.cat(order).argsort()]


def paste(masks: Tensor, boxes: Tensor, size: Size) -> Tensor:
    """Masks (N, cells, cells) on a grid in their boxes (N, 4) to masks (N, *size) of the image.

    Bilinear interpolation is separable: a product with a matrix for the rows and one for the
    columns. Masks of boxes without an area are empty.
    """
    down, across = (
        _interpolation(boxes[:, axis], boxes[:, axis + 2], length, masks.shape[-1])
        for axis, length in ((1, size[0]), (0, size[1]))
    )
    return down @ masks @ across.transpose(1, 2)


def _interpolation(start: Tensor, end: Tensor, length: Any, cells: int) -> Tensor:
    """Weights (N, length, cells) of the cells between start and end (N,) for each pixel."""
    pixel = torch.arange(length, device=start.device).to(start) + 0.5
    place = (pixel - start[:, None]) / (end - start)[:, None] * cells - 0.5
    cell = torch.arange(cells, device=start.device).to(start)
    return (1 - (place[..., None] - cell).abs()).clamp(min=0)


def _spare(x: Tensor) -> Tensor:
    """Append an entry of zeros, for runtimes and layers that do not take an empty batch."""
    return F.pad(x, (0, 0, 0, 0, 0, 0, 0, 1))


def _as_list(modules: Any) -> list[Any]:
    return list(modules) if isinstance(modules, nn.ModuleList) else [modules]
